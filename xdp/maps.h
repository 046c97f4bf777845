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

/* At most so many workers can have SYNs answered here: each costs a look into its filter. */
#define MAX_WORKERS 64
/* Prefixes on our links that are known here. */
#define MAX_PREFIXES 8
/* Bits and words of a filter: src/outpost.rs. */
#define FILTER_BITS (1ULL << 25)
#define FILTER_WORDS (1U << 19)

/* A prefix that is on one of our links, in the order of memory; IPv4 in the first word. */
struct prefix {
	__u32 address[4];
	__u32 mask[4];
	__u32 v6;
	__u32 point_to_point; /* no broadcast address (RFC 3021) */
};

/* What is needed to answer as the stack does: `Layout` in src/driver/xdp_defence.rs mirrors it. */
struct defence {
	__u64 making_key[2];
	__u64 accepting_key[2];
	__u64 isn_key[2];
	__u64 clock_ahead_ns;
	__u16 mss_v4;
	__u16 mss_v6;
	__u16 window;
	__u8 shift;
	__u8 ecn;
	__u8 mac[6];
	__u8 accepts; /* the second key counts */
	__u8 verify;  /* received checksums */
	__u32 workers;
	__u32 prefix_count;
	__u32 gateway_v4;
	__u32 gateway_v6;
	__u32 hop_limit;
	__u32 traffic_class; /* without ECN bits */
	struct prefix prefixes[MAX_PREFIXES];
};

/* What a worker asks for, and what was done for it: a cache line that both write to (src/outpost.rs). */
struct outpost {
	__u64 command;	/* in the workers' own: how many of them want filters */
	__u64 answered; /* SYNs */
	__u64 defence;	/* in the workers' own: which `struct defence` is good */
	__u64 unused[5];
};

#define OUTPOST_ANSWERING 1
#define OUTPOST_READY 2
#define OUTPOST_FILTER 4

/* What a SYN offers by its options, as far as a cookie goes. */
struct offer {
	__u32 tsval;
	__u16 mss;
	__u8 scale; /* 15: none */
	__u8 sack;
	__u8 timestamps;
};

/* The options of a SYN while they are read, with room behind for any length that an octet can say. */
struct scratch {
	__be32 words[10];
	__u8 behind[300];
	__u32 len; /* octets of options */
	struct offer offer;
};

/* One for each CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* The `struct defence` that is good, and the one that will be next: a change is never seen half. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct defence);
} defences SEC(".maps");

/* The outpost of each worker, which is that of its queue, and one more: the workers' own. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_WORKERS + 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct outpost);
} outposts SEC(".maps");

/* Two filters for each worker, one after another; the loader says how many words that is. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} flow_filters SEC(".maps");

/*
 * Whether any worker can ask for answers. The loader sets it before the program is verified, and where it is zero the
 * verifier need not follow what answers SYNs, which is most of its work.
 */
const volatile __u8 may_answer = 1;

/* A flood that our own host makes: its target and port, and where its sources lie, in the order of the network. No flood,
 * no target. */
const volatile __be32 flood_target = 0;
const volatile __be16 flood_port = 0;
const volatile __be32 flood_sources = 0;
const volatile __be32 flood_mask = 0;

/* A bit for each port that listens. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} listening SEC(".maps");

/* Frames by `enum verdict`. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

#endif
