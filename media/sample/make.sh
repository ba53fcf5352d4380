#!/bin/sh
# Makes the built-in sample of package media: sample.h264 and sample.ogg, ten seconds each, next to
# this script. Needs ffmpeg with libx264, libopus and drawtext (Debian: ffmpeg, fonts-dejavu-core).
#
# The picture is a sky whose colours turn once in ten seconds, a sun on its orbit and a clock; every
# motion has a period that divides ten seconds, so that the loop shows no seam. The sound is a slow
# arpeggio whose last note has faded when the loop ends.
#
# The format is what every WebRTC viewer decodes (media.md): H.264 constrained baseline level 3.1,
# one reference, no B pictures, no SEI, a key frame every 60 pictures; Opus in packets of 20 ms, one
# per Ogg page, because a page is what a reader hands out at once.
set -eu
cd "$(dirname "$0")"

sky="geq=r='62+34*sin(X/50+2*PI*T/10)+26*sin((X+Y)/70-4*PI*T/10)'\
:g='70+35*sin(Y/34-2*PI*T/5)+25*sin((X-Y)/60+2*PI*T/10)'\
:b='120+45*sin(hypot(X-160,Y-90)/28-2*PI*T/5)'"
sun="geq=r='255':g='215-0.45*hypot(X-130,Y-130)':b='95-0.5*hypot(X-130,Y-130)'\
:a='clip(255*1.6*(1-hypot(X-130,Y-130)/(104+12*sin(8*atan2(Y-130,X-130)+2*PI*T*4/10))),0,255)'"
orbit="x='(W-w)/2+430*cos(2*PI*t/10)':y='(H-h)/2+210*sin(2*PI*t/10)'"
clock="drawtext=font='DejaVu Sans Mono':fontsize=96:fontcolor=white:borderw=3:bordercolor=black@0.6\
:x=(w-tw)/2:y=(h-th)/2:text='%{eif\\:floor(t)\\:d\\:2}.%{eif\\:floor(mod(t*30+0.5,30))\\:d\\:2}'"
name="drawtext=font='DejaVu Sans':fontsize=34:fontcolor=white@0.85:x=(w-tw)/2:y=h/2+70:text='heliograph'"
hand="drawbox=x=0:y=ih-10:w=iw:h=10:color=black@0.4:t=fill,\
drawtext=font='DejaVu Sans':fontsize=30:fontcolor=gold:text='●':x='mod(t,2)/2*(w+tw)-tw':y=h-23"

ffmpeg -hide_banner -loglevel error -y \
	-f lavfi -i "color=black:s=320x180:r=30:d=10,format=gbrp,$sky,scale=1280:720:flags=bicubic,format=yuv420p" \
	-f lavfi -i "color=black:s=260x260:r=30:d=10,format=gbrap,$sun,format=yuva420p" \
	-filter_complex "[0][1]overlay=$orbit,$clock,$name,$hand,format=yuv420p" \
	-frames:v 300 -an -threads 1 \
	-c:v libx264 -profile:v baseline -level 3.1 -preset veryslow -tune animation \
	-refs 1 -bf 0 -g 60 -keyint_min 60 -sc_threshold 0 -slices 1 \
	-b:v 760k -maxrate 900k -bufsize 900k \
	-bsf:v 'filter_units=remove_types=6|9' -f h264 sample.h264

# Sixteen notes of a pentatonic scale, one every 0.625 s, as semitones above A3.
tune=""
i=0
for semitone in 0 7 12 16 19 16 12 7 5 12 17 21 24 21 17 9; do
	note="gte(t-$i*0.6\,0)*exp(-3.2*(t-$i*0.6))*min(1\,60*(t-$i*0.6))*(sin(2*PI*220*pow(2\,$semitone/12)*t)+0.25*sin(4*PI*220*pow(2\,$semitone/12)*t))"
	tune="$tune${tune:+ + }if(gte(t\,$i*0.6)\,$note)"
	i=$((i + 1))
done

# 9.98 s and the encoder's look-ahead of 6.5 ms make 500 packets: ten seconds.
ffmpeg -hide_banner -loglevel error -y \
	-f lavfi -i "aevalsrc=0.22*($tune):s=48000:d=9.98,afade=t=out:st=9.6:d=0.38" \
	-ac 1 -c:a libopus -b:a 24k -vbr constrained -application audio -frame_duration 20 \
	-page_duration 20000 -map_metadata -1 -fflags +bitexact -f ogg sample.ogg
