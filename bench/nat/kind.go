// Package nat builds networks of Linux network namespaces, in which hosts sit behind NATs of every kind,
// and finds out how those NATs behave. It needs root, iproute2 and nftables, and leaves the machine's own
// network alone.
package nat

import "fmt"

// Kind is what a host has between itself and the public network. The names are the usual ones (RFC 3489
// 5); what they mean is told by Behaviour.
type Kind string

// The kinds.
const (
	Open           Kind = "open" // no NAT
	FullCone       Kind = "full cone"
	Restricted     Kind = "restricted"
	PortRestricted Kind = "port-restricted"
	Symmetric      Kind = "symmetric"
)

// Kinds are those with a NAT, the kindest first.
func Kinds() []Kind { return []Kind{FullCone, Restricted, PortRestricted, Symmetric} }

// Dependence tells which part of the other end something depends on (RFC 4787 4.1 and 5).
type Dependence string

// The dependences.
const (
	Independent    Dependence = "endpoint-independent"
	Address        Dependence = "address-dependent"
	AddressAndPort Dependence = "address-and-port-dependent"
)

// Behaviour is how a NAT treats UDP: which address a host gets outside, and who may send to it.
type Behaviour struct{ Mapping, Filtering Dependence }

func (b Behaviour) String() string {
	return fmt.Sprintf("%s mapping, %s filtering", b.Mapping, b.Filtering)
}

// Behaviour is what a NAT of this kind must do.
func (k Kind) Behaviour() Behaviour {
	switch k {
	case Restricted:
		return Behaviour{Independent, Address}
	case PortRestricted:
		return Behaviour{Independent, AddressAndPort}
	case Symmetric:
		return Behaviour{AddressAndPort, AddressAndPort}
	}
	return Behaviour{Independent, Independent}
}

// Direct tells whether two hosts behind such NATs reach one another without a relay: whoever is met at
// another port than a STUN server has seen must be let in at any port.
func Direct(a, b Kind) bool { return a.meets(b) && b.meets(a) }

func (k Kind) meets(other Kind) bool {
	return k.Behaviour().Mapping == Independent || other.Behaviour().Filtering != AddressAndPort
}
