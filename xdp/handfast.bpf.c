// SPDX-License-Identifier: MIT OR Apache-2.0
/* Decides for each received frame whether it is ours. What is ours goes to the AF_XDP socket of its queue; what is ours
 * and malformed is dropped; everything else passes to the kernel untouched. Each verdict has a counter.
 *
 * An address is ours alone, and then all that is sent to it is ours, ARP and neighbour discovery included; or it is
 * shared with the host, and then only TCP to one of our ports is, and ICMP errors about TCP from there. Of a shared
 * address nothing is dropped but a malformed segment to a port of ours.
 *
 * A step returns a verdict, or GO_ON when the next step decides. Only the answer to a SYN is written to a frame (syn.h),
 * while a worker asks for that.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"
#include "packet.h"
#include "syn.h"
#include "verdicts.h"

/* No verdict yet. */
#define GO_ON (-1)
#define TRY(step)                       \
	do {                            \
		int verdict_ = (step);  \
		if (verdict_ != GO_ON)  \
			return verdict_; \
	} while (0)

/* IPv6 options headers that are looked through; a longer chain is the stack's to judge. */
#define MAX_OPTIONS_HEADERS 4
/* An IPv4 fragment: more fragments follow, or the offset is not 0 (RFC 791 §3.1). */
#define IPV4_FRAGMENT 0x3fff
#define IPV4_OFFSET 0x1fff
#define IPV6_OFFSET 0xfff8
#define ICMP_HEADER_LEN 8
/* Errors (RFC 792); source quench says nothing to TCP (RFC 9293 §3.9.2.2). */
#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
/* Below it are the errors (RFC 4443 §2.1). */
#define ICMPV6_FIRST_INFORMATIONAL 128
#define NEIGHBOUR_SOLICITATION 135
#define NEIGHBOUR_ADVERTISEMENT 136

/* How a TCP header begins. */
struct port_pair {
	__be16 source;
	__be16 dest;
};

/* RFC 8200 §4.5. */
struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset; /* and below it two reserved bits, and whether more follow */
	__be32 id;
};

/* ARP for IPv4 on Ethernet (RFC 826). */
struct arp_packet {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_hardware[ETH_ALEN];
	__u8 sender[4];
	__u8 target_hardware[ETH_ALEN];
	__u8 target[4];
} __attribute__((packed));

/* Neighbour solicitation and advertisement (RFC 4861 §4.3, §4.4). */
struct ndp_packet {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct address target;
};

/* What cannot be said for certain to be for a port of ours is the kernel's. */
static __always_inline int malformed(const struct packet *p, enum verdict reason)
{
	return p->ownership == SHARED ? PASS_SHARED : reason;
}

static __always_inline int read_ethernet(struct packet *p, __be16 *type)
{
	struct ethhdr *eth = p->at;
	struct vlan_tag *tag = p->at + sizeof(*eth);

	if ((void *)(eth + 1) > p->end)
		return PASS_TOO_SHORT;
	p->at = eth + 1;
	*type = eth->h_proto;
	if (*type != bpf_htons(ETH_P_8021Q))
		return GO_ON;
	if ((void *)(tag + 1) > p->end)
		return PASS_TOO_SHORT;
	p->at = tag + 1;
	p->tagged = true;
	*type = tag->type;
	return GO_ON;
}

/* A question or an answer about p->to that is not addressed to it. */
static __always_inline int judge_neighbour(const struct packet *p)
{
	switch (ownership_of(&p->to)) {
	case OURS_ALONE:
		return REDIRECT;
	case SHARED:
		return PASS_SHARED;
	default:
		return PASS_NOT_OURS;
	}
}

/* Requests for our address, and replies to it. */
static __always_inline int judge_arp(struct packet *p)
{
	struct arp_packet *arp = p->at;

	if ((void *)(arp + 1) > p->end)
		return PASS_TOO_SHORT;
	if (arp->hardware != bpf_htons(1) || arp->hardware_len != ETH_ALEN)
		return PASS_NOT_OURS;
	if (arp->protocol != bpf_htons(ETH_P_IP) || arp->protocol_len != 4)
		return PASS_NOT_OURS;
	p->to = ipv4_mapped(arp->target);
	return judge_neighbour(p);
}

/* Nobody waits for it: the kernel would take ten times as long to find that out, on the core that makes the flood. */
static __always_inline bool answers_our_flood(const struct packet *p, const struct iphdr *ip)
{
	const struct port_pair *pair = (const void *)(ip + 1);

	if (!flood_target || ip->saddr != flood_target || ip->protocol != IPPROTO_TCP)
		return false;
	return (const void *)(pair + 1) <= p->end && ip->ihl == 5 && pair->source == flood_port &&
	       (ip->daddr & flood_mask) == flood_sources;
}

static __always_inline int read_ipv4(struct packet *p)
{
	struct iphdr *ip = p->at;
	__u32 header, total;

	if ((void *)(ip + 1) > p->end)
		return PASS_TOO_SHORT;
	p->to = ipv4_mapped(&ip->daddr);
	p->ownership = ownership_of(&p->to);
	if (p->ownership == NOT_OURS)
		return answers_our_flood(p, ip) ? FLOOD_ANSWER : PASS_NOT_OURS;
	if (ip->version != 4)
		return malformed(p, DROP_IP_VERSION);
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (header < sizeof(*ip))
		return malformed(p, DROP_IP_HEADER_LENGTH);
	if (total < sizeof(*ip) || p->at + total > p->end)
		return malformed(p, DROP_IP_LENGTH);
	if (header > total)
		return malformed(p, DROP_IP_HEADER_LENGTH);
	p->ip = ip;
	p->plain = header == sizeof(*ip);
	p->fragment = (ip->frag_off & bpf_htons(IPV4_FRAGMENT)) != 0;
	p->protocol = ip->protocol;
	p->icmp = IPPROTO_ICMP;
	p->at += header;
	p->left = total - header;
	return GO_ON;
}

/* Neighbour discovery asks a group of hosts for one address: it is ours when that address is ours alone. */
static __always_inline int judge_multicast(struct packet *p, __u8 protocol)
{
	struct ndp_packet *ndp = p->at;

	if (protocol != IPPROTO_ICMPV6 || (void *)(ndp + 1) > p->end)
		return PASS_NOT_OURS;
	if (ndp->type != NEIGHBOUR_SOLICITATION && ndp->type != NEIGHBOUR_ADVERTISEMENT)
		return PASS_NOT_OURS;
	p->to = ndp->target;
	return judge_neighbour(p);
}

/* Looks through hop-by-hop and destination options, and routing headers, which begin alike (RFC 8200 §4.3, §4.4,
 * §4.6). */
static __always_inline int read_options_headers(struct packet *p)
{
	__u32 len;
	__u8 *h;

#pragma unroll
	for (int i = 0; i < MAX_OPTIONS_HEADERS; i++) {
		if (p->protocol != IPPROTO_HOPOPTS && p->protocol != IPPROTO_DSTOPTS && p->protocol != IPPROTO_ROUTING)
			return GO_ON;
		h = p->at;
		if (p->left < 8 || (void *)(h + 8) > p->end)
			return malformed(p, DROP_EXTENSION_HEADER);
		len = (h[1] + 1) * 8;
		if (len > p->left)
			return malformed(p, DROP_EXTENSION_HEADER);
		p->protocol = h[0];
		p->at += len;
		p->left -= len;
	}
	return GO_ON;
}

static __always_inline int read_ipv6(struct packet *p)
{
	struct ipv6hdr *ip = p->at;
	__u32 payload;

	if ((void *)(ip + 1) > p->end)
		return PASS_TOO_SHORT;
	__builtin_memcpy(&p->to, &ip->daddr, sizeof(p->to));
	p->at = ip + 1;
	if (p->to.octets[0] == 0xff)
		return judge_multicast(p, ip->nexthdr);
	p->ownership = ownership_of(&p->to);
	if (p->ownership == NOT_OURS)
		return PASS_NOT_OURS;
	if (ip->version != 6)
		return malformed(p, DROP_IP_VERSION);
	payload = bpf_ntohs(ip->payload_len);
	if (p->at + payload > p->end)
		return malformed(p, DROP_IP_LENGTH);
	p->protocol = ip->nexthdr;
	p->icmp = IPPROTO_ICMPV6;
	p->left = payload;
	p->ip = ip;
	p->v6 = true;
	p->plain = p->protocol == IPPROTO_TCP;
	TRY(read_options_headers(p));
	p->fragment = p->protocol == IPPROTO_FRAGMENT;
	return GO_ON;
}

/* Both ports of what begins behind `skip` octets, if they are there; the rest of the header is judged afterwards. */
static __always_inline struct port_pair *ports_behind(struct packet *p, __u32 skip)
{
	struct port_pair *pair = p->at + skip;

	return p->left >= skip + sizeof(*pair) && (void *)(pair + 1) <= p->end ? pair : NULL;
}

/* The ports of the segment that an ICMP error quotes, if it is one that we may have sent: without IP options, without
 * extension headers (RFC 792, RFC 4443 §2.1). */
static __always_inline struct port_pair *quoted_ports(struct packet *p)
{
	__u8 *icmp = p->at;
	struct iphdr *ip = p->at + ICMP_HEADER_LEN;
	struct ipv6hdr *ipv6 = p->at + ICMP_HEADER_LEN;

	if (p->v6) {
		if ((void *)(ipv6 + 1) > p->end || icmp[0] >= ICMPV6_FIRST_INFORMATIONAL || ipv6->nexthdr != IPPROTO_TCP)
			return NULL;
		return ports_behind(p, ICMP_HEADER_LEN + sizeof(*ipv6));
	}
	if ((void *)(ip + 1) > p->end || ip->ihl != 5 || ip->protocol != IPPROTO_TCP)
		return NULL;
	if (icmp[0] != ICMP_UNREACHABLE && icmp[0] != ICMP_TIME_EXCEEDED && icmp[0] != ICMP_PARAMETER_PROBLEM)
		return NULL;
	return ports_behind(p, ICMP_HEADER_LEN + sizeof(*ip));
}

/* The first fragment of a segment names its ports. The kernel must not put together what is ours: it would reset the
 * connection, which it does not know. */
static __always_inline struct port_pair *fragment_ports(struct packet *p)
{
	struct fragment_header *header = p->at;
	struct iphdr *ip = p->ip;

	if (p->v6) {
		if ((void *)(header + 1) > p->end || header->next != IPPROTO_TCP)
			return NULL;
		return header->offset & bpf_htons(IPV6_OFFSET) ? NULL : ports_behind(p, sizeof(*header));
	}
	if ((void *)(ip + 1) > p->end || p->protocol != IPPROTO_TCP)
		return NULL;
	return ip->frag_off & bpf_htons(IPV4_OFFSET) ? NULL : ports_behind(p, 0);
}

/* Of a shared address, only TCP to our ports is ours, and ICMP errors about TCP from them. */
static __always_inline int judge_shared(struct packet *p)
{
	struct socket_name name = { .address = p->to };
	struct port_pair *pair = NULL;
	bool from_us = false;

	if (p->ownership != SHARED)
		return GO_ON;
	if (p->fragment) {
		pair = fragment_ports(p);
	} else if (p->protocol == IPPROTO_TCP) {
		pair = ports_behind(p, 0);
	} else if (p->protocol == p->icmp) {
		pair = quoted_ports(p);
		from_us = true;
	}
	if (pair) {
		name.port = from_us ? pair->source : pair->dest;
		if (bpf_map_lookup_elem(&ports, &name))
			return GO_ON;
	}
	return p->fragment ? PASS_FRAGMENT : PASS_SHARED;
}

static __always_inline int judge_tcp(struct packet *p)
{
	struct tcphdr *tcp = p->at;

	if (p->left < sizeof(*tcp) || (void *)(tcp + 1) > p->end)
		return DROP_TCP_TRUNCATED;
	if (tcp->doff < 5 || tcp->doff * 4 > p->left)
		return DROP_TCP_DATA_OFFSET;
	return REDIRECT;
}

static __always_inline int judge(struct packet *p)
{
	__be16 type;

	TRY(read_ethernet(p, &type));
	if (type == bpf_htons(ETH_P_ARP))
		return judge_arp(p);
	else if (type == bpf_htons(ETH_P_IP))
		TRY(read_ipv4(p));
	else if (type == bpf_htons(ETH_P_IPV6))
		TRY(read_ipv6(p));
	else
		return PASS_NOT_IP;
	TRY(judge_shared(p));
	if (p->fragment)
		return REDIRECT;
	if (p->protocol == IPPROTO_TCP)
		return judge_tcp(p);
	if (p->protocol == p->icmp && p->left < ICMP_HEADER_LEN)
		return DROP_ICMP_TRUNCATED;
	return REDIRECT;
}

static __always_inline void count(__u32 verdict)
{
	__u64 *counter = bpf_map_lookup_elem(&verdicts, &verdict);

	if (counter)
		*counter += 1;
}

SEC("xdp")
int handfast(struct xdp_md *ctx)
{
	struct packet p = { .at = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };
	__u32 queue = ctx->rx_queue_index;
	int verdict = judge(&p);

	if (verdict == REDIRECT && p.plain && p.protocol == IPPROTO_TCP && !p.fragment)
		verdict = defend(ctx, &p);
	if (verdict == REDIRECT && !bpf_map_lookup_elem(&xsks, &queue))
		verdict = PASS_NO_SOCKET;
	count(verdict);
	if (verdict == REDIRECT)
		return bpf_redirect_map(&xsks, queue, XDP_PASS);
	if (verdict == ANSWER_SYN)
		return XDP_TX;
	return verdict >= FIRST_DROP ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
