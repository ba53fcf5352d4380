package nat

import (
	"net/netip"
	"strings"
)

// The rules of a NAT for one host, as nft reads them. Linux keeps the host's port where it is free, and
// there is but one host, so that plain masquerading maps independently of the other end and lets nobody
// in but whom the host has written to: a port-restricted cone. The kinder kinds remember whom the host
// has written to and let more of them in; the symmetric one draws a port for each other end.
//
// Whatever nobody is waiting for is dropped on input, before the kernel takes note of it: a noted packet
// would occupy the port from outside, and the host's own mapping would move.
const rules = `
table ip nat {
	set ports {
		type inet_service
		size 65535
		flags dynamic,timeout
		timeout 5m
	}
	set peers {
		type ipv4_addr . inet_service
		size 65535
		flags dynamic,timeout
		timeout 5m
	}
	chain remember {
		type filter hook forward priority filter - 1
		iifname "lan" meta l4proto udp update @ports { udp sport }
		iifname "lan" meta l4proto udp update @peers { ip daddr . udp sport }
	}
	chain forward {
		type filter hook forward priority filter
		policy drop
		iifname "lan" oifname "wan" accept
		ct state established,related accept
		ct status dnat accept
	}
	chain input {
		type filter hook input priority filter
		policy drop
	}
	chain prerouting {
		type nat hook prerouting priority dstnat
		ADMIT
	}
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "wan" MASQUERADE
	}
}
`

// rules are for the NAT of a host.
func (k Kind) rules(host netip.Addr) string {
	admit, masquerade := "", "masquerade"
	switch k {
	case FullCone:
		admit = `iifname "wan" udp dport @ports dnat to ` + host.String()
	case Restricted:
		admit = `iifname "wan" ip saddr . udp dport @peers dnat to ` + host.String()
	case Symmetric:
		masquerade = "masquerade fully-random"
	}
	return strings.NewReplacer("ADMIT", admit, "MASQUERADE", masquerade).Replace(rules)
}
