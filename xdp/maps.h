/* The maps that the loader fills (src/driver/xdp_program.rs) and their keys. */
#ifndef HANDFAST_MAPS_H
#define HANDFAST_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "verdicts.h"

/* An address of either family; IPv4 in its mapped form ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). */
struct address {
	union {
		__u8 octets[16];
		__u32 words[4];
	};
};

/* A TCP port of a shared address. */
struct socket_name {
	struct address address;
	__be16 port;
	__u16 zero;
};

/* Who owns an address. */
enum ownership {
	NOT_OURS = 0,
	OURS_ALONE = 1,
	SHARED = 2,
};

/* The AF_XDP socket of each queue. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* Address to `enum ownership`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address);
	__type(value, __u32);
} addresses SEC(".maps");

/* The TCP ports that are ours on shared addresses; the value says nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct socket_name);
	__type(value, __u8);
} ports SEC(".maps");

/* Frames by `enum verdict`. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

#endif
