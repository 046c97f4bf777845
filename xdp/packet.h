/* What is read of a frame, and whose the addresses in it are. */
#ifndef HANDFAST_PACKET_H
#define HANDFAST_PACKET_H

#include "maps.h"

struct vlan_tag {
	__be16 control;
	__be16 type;
};

/* What has been read of a frame. */
struct packet {
	void *at;	 /* what is read next */
	void *end;	 /* the end of the frame */
	__u32 left;	 /* octets of the IP packet from `at` on; the frame may be longer (padding), never shorter */
	__u32 ownership; /* of the destination address */
	struct address to;
	__u8 protocol;
	__u8 icmp; /* the number of ICMP in this IP version */
	bool fragment;
	/* For an answer in its place: */
	void *ip;     /* the IP header */
	bool v6;
	bool tagged;  /* behind a VLAN tag */
	bool plain;   /* no IP options, no extension headers */
	__u64 sum_addresses; /* in the order of memory */
};

static __always_inline struct address ipv4_mapped(const void *octets)
{
	struct address a;

	/* Word by word: a constant initialiser would become a map of its own. */
	a.words[0] = 0;
	a.words[1] = 0;
	a.words[2] = bpf_htonl(0xffff);
	__builtin_memcpy(&a.words[3], octets, 4);
	return a;
}

static __always_inline __u32 ownership_of(const struct address *a)
{
	__u32 *ownership = bpf_map_lookup_elem(&addresses, a);

	return ownership ? *ownership : NOT_OURS;
}

#endif
