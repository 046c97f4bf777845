/* The third step of the defence against SYN floods: SYNs are answered here, and acknowledgements without a cookie end
 * here. Whatever might belong to a flow that lives, and whatever is not quite ordinary, is the stack's to judge.
 */
#ifndef HANDFAST_SYN_H
#define HANDFAST_SYN_H

#include "cookie.h"
#include "packet.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_ECE 0x40
#define TCP_CWR 0x80

/* Largest options of a header, in words and in octets. */
#define OPTION_WORDS 10
#define OPTION_OCTETS 40
/* Priority and number of a VLAN tag: the drop-eligible bit is not sent back. */
#define VLAN_KEPT 0xefff

/* An answer in the making. */
struct answer {
	__be32 seq; /* of the answer */
	__be32 ack;
	__be32 tsval;
	__be32 tsecr;
	__be16 window;
	__u16 mss;
	__u8 flags;
	__u8 shift;
	bool sack;
	bool scaled;
	bool timestamps;
};

static __always_inline struct outpost *outpost_of(__u32 worker)
{
	return bpf_map_lookup_elem(&outposts, &worker);
}

/* Whether a tuple may be one of a flow that lives, of any worker: frames may come in on another queue than its own. */
static __always_inline bool may_live(const struct defence *d, __u64 hash)
{
	__u64 bit = hash & (FILTER_BITS - 1);

	for (__u32 worker = 0; worker < MAX_WORKERS; worker++) {
		struct outpost *o;
		__u64 command, *word;
		__u32 at;

		if (worker >= d->workers)
			return false;
		o = outpost_of(worker);
		if (!o)
			return true;
		command = *(volatile __u64 *)&o->command;
		if (!(command & OUTPOST_READY))
			return true;
		at = worker * 2 * FILTER_WORDS + (command & OUTPOST_FILTER ? FILTER_WORDS : 0) + (bit >> 6);
		word = bpf_map_lookup_elem(&flow_filters, &at);
		if (!word || *word >> (bit & 63) & 1)
			return true;
	}
	return true;
}

static __always_inline bool listens(__u16 port)
{
	__u32 at = port >> 6;
	__u64 *word = bpf_map_lookup_elem(&listening, &at);

	return word && *word >> (port & 63) & 1;
}

static __always_inline __u32 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum & 0xffff;
}

/* The addresses of an IP packet, summed for a pseudo header in the order of memory. */
static __always_inline __u64 sum_addresses(const struct packet *p)
{
	__u64 sum = 0;

	if (p->v6) {
		struct ipv6hdr *ip = p->ip;

#pragma unroll
		for (int i = 0; i < 4; i++)
			sum += (__u64)ip->saddr.s6_addr32[i] + ip->daddr.s6_addr32[i];
	} else {
		struct iphdr *ip = p->ip;

		sum = (__u64)ip->saddr + ip->daddr;
	}
	return sum;
}

static __always_inline bool ipv4_is_intact(const struct iphdr *ip)
{
	const __u32 *word = (const void *)ip;
	__u64 sum = (__u64)word[0] + word[1] + word[2] + word[3] + word[4];

	return fold(sum) == 0xffff;
}

static __always_inline void read_ends(const struct packet *p, const struct tcphdr *tcp, struct ends *ends)
{
	ends->ports = (__u32)bpf_ntohs(tcp->dest) << 16 | bpf_ntohs(tcp->source);
	ends->v6 = p->v6;
	if (p->v6) {
		struct ipv6hdr *ip = p->ip;

		__builtin_memcpy(&ends->address[0], &ip->daddr, 16);
		__builtin_memcpy(&ends->address[2], &ip->saddr, 16);
	} else {
		struct iphdr *ip = p->ip;

		ends->address[0] = (__u64)bpf_ntohl(ip->daddr) << 32 | bpf_ntohl(ip->saddr);
	}
}

/* Whether a host on a wire may have this source, and it is none of ours (`src/wire/ip.rs`). */
static __always_inline bool is_plain_source(const struct packet *p)
{
	struct address from;

	if (p->v6) {
		struct ipv6hdr *ip = p->ip;

		__builtin_memcpy(&from, &ip->saddr, sizeof(from));
		/* Multicast; unspecified, loopback and mapped addresses with others that nobody has. */
		if (from.octets[0] == 0xff || (from.words[0] == 0 && from.words[1] == 0))
			return false;
	} else {
		struct iphdr *ip = p->ip;
		__u32 first = ip->saddr & bpf_htonl(0xff000000);

		if (first == 0 || first == bpf_htonl(0x7f000000) || (ip->saddr & bpf_htonl(0xe0000000)) == bpf_htonl(0xe0000000))
			return false;
		from = ipv4_mapped(&ip->saddr);
	}
	return ownership_of(&from) == NOT_OURS;
}

/* Whether there is a way back: on one of our links and not its broadcast address, or by a gateway. */
static __always_inline bool has_way_back(const struct defence *d, const struct packet *p)
{
	__u32 from[4] = {};

	if (p->v6)
		__builtin_memcpy(from, &((struct ipv6hdr *)p->ip)->saddr, 16);
	else
		from[0] = ((struct iphdr *)p->ip)->saddr;
	for (__u32 i = 0; i < MAX_PREFIXES; i++) {
		const struct prefix *on_link = &d->prefixes[i];
		__u32 differs;

		if (i >= d->prefix_count)
			break;
		if (on_link->v6 != p->v6)
			continue;
		differs = ((from[0] ^ on_link->address[0]) & on_link->mask[0]) | ((from[1] ^ on_link->address[1]) & on_link->mask[1]) |
			  ((from[2] ^ on_link->address[2]) & on_link->mask[2]) | ((from[3] ^ on_link->address[3]) & on_link->mask[3]);
		if (!differs)
			return p->v6 || on_link->point_to_point || (from[0] | on_link->mask[0]) != 0xffffffff;
	}
	return p->v6 ? d->gateway_v6 : d->gateway_v4;
}

/* Reads the options of a SYN that are in the scratch, like `src/wire/tcp/codec.rs`; 0 when one has an illegal length.
 *
 * A function of its own, which the verifier walks through once; all that it finds stays in the scratch, as the verifier
 * would follow each value that a register may have. */
__noinline int parse_options(void)
{
	__u32 at = 0, first = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratches, &first);
	const __u8 *octets;
	struct offer *offer;

	if (!may_answer || !s)
		return 0;
	octets = (const __u8 *)s->words;
	offer = &s->offer;
	for (int i = 0; i < OPTION_OCTETS; i++) {
		__u32 kind, size;

		if (at >= *(volatile __u32 *)&s->len || at >= OPTION_OCTETS)
			return 1;
		kind = octets[at];
		if (kind == 0)
			return 1;
		if (kind == 1) {
			at += 1;
			continue;
		}
		size = octets[at + 1];
		if (size < 2 || at + size > *(volatile __u32 *)&s->len)
			return 0;
		if (kind == 2 && size == 4) {
			offer->mss = octets[at + 2] << 8 | octets[at + 3];
		} else if (kind == 3 && size == 3) {
			offer->scale = octets[at + 2] > 14 ? 14 : octets[at + 2];
		} else if (kind == 4 && size == 2) {
			offer->sack = true;
		} else if (kind == 8 && size == 10) {
			offer->timestamps = true;
			offer->tsval = (__u32)octets[at + 2] << 24 | octets[at + 3] << 16 | octets[at + 4] << 8 | octets[at + 5];
		}
		at += size;
	}
	return 1;
}

/* What almost every SYN has: MSS, SACK, timestamps and window scale, in five words. */
static __always_inline bool read_usual_offer(const struct packet *p, const __be32 *word, __u64 *sum, struct offer *offer)
{
	__u32 scale;

	if ((const void *)(word + 5) > p->end)
		return false;
	if ((word[0] & bpf_htonl(0xffff0000)) != bpf_htonl(0x02040000) || word[1] != bpf_htonl(0x0402080a) ||
	    (word[4] & bpf_htonl(0xffffff00)) != bpf_htonl(0x01030300))
		return false;
	scale = bpf_ntohl(word[4]) & 0xff;
	offer->mss = bpf_ntohl(word[0]) & 0xffff;
	offer->sack = true;
	offer->timestamps = true;
	offer->tsval = bpf_ntohl(word[2]);
	offer->scale = scale > 14 ? 14 : scale;
	*sum += (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
	return true;
}

/* Takes the options of a SYN out of the frame: their sum in the order of memory, and what they offer. False when the
 * stack is to judge them. */
static __always_inline bool read_offer(const struct packet *p, const struct tcphdr *tcp, __u64 *sum, struct offer *offer)
{
	__u32 count = tcp->doff - 5, first = 0;
	const __be32 *word = (const void *)(tcp + 1);
	struct scratch *s;

	if (count == 5 && read_usual_offer(p, word, sum, offer))
		return true;
	s = bpf_map_lookup_elem(&scratches, &first);
	if (!s)
		return false;
	s->offer = *offer;
	for (__u32 i = 0; i < OPTION_WORDS; i++) {
		if (i >= count)
			break;
		if ((const void *)(word + i + 1) > p->end)
			return false;
		s->words[i] = word[i];
		*sum += word[i];
	}
	s->len = count * 4;
	if (!parse_options())
		return false;
	*offer = s->offer;
	return true;
}

static __always_inline __u64 sum_header(const struct tcphdr *tcp)
{
	const __u32 *word = (const void *)tcp;

	return (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
}

/* Writes the TCP header and its options, all but the checksum; gives the octets, 0 when they do not fit. */
static __always_inline __u32 write_segment(struct tcphdr *tcp, const void *end, const struct answer *a, __u64 *sum)
{
	__be32 *w = (void *)(tcp + 1);
	__u32 words = a->timestamps ? (a->scaled ? 5 : 4) : 1;
	__be16 source = tcp->source;
	__be32 *head = (void *)tcp;

	tcp->source = tcp->dest;
	tcp->dest = source;
	tcp->seq = a->seq;
	tcp->ack_seq = a->ack;
	head[3] = bpf_htonl((5 + words) << 28 | (__u32)a->flags << 16) | ((__u32)a->window << 16);
	head[4] = 0;
	w[0] = bpf_htonl(0x02040000 | a->mss);
	*sum += sum_header(tcp) + w[0];
	if (!a->timestamps)
		return 24;
	if ((void *)(w + 4) > end)
		return 0;
	w[1] = a->sack ? bpf_htonl(0x0402080a) : bpf_htonl(0x0101080a);
	w[2] = a->tsval;
	w[3] = a->tsecr;
	*sum += (__u64)w[1] + w[2] + w[3];
	if (!a->scaled)
		return 36;
	if ((void *)(w + 5) > end)
		return 0;
	w[4] = bpf_htonl(0x01030300 | a->shift);
	*sum += w[4];
	return 40;
}

/* Turns the frame round and makes the answer of it, in place. Nothing was changed when it fails. */
static __always_inline bool write_answer(struct xdp_md *ctx, const struct packet *p, const struct defence *d,
					 const struct answer *a)
{
	__u32 link = p->tagged ? sizeof(struct ethhdr) + sizeof(struct vlan_tag) : sizeof(struct ethhdr);
	__u32 network = p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u32 segment = a->timestamps ? (a->scaled ? 40 : 36) : 24;
	int difference = (int)(link + network + segment) - (int)(ctx->data_end - ctx->data);
	struct ethhdr *eth;
	struct tcphdr *tcp;
	void *data, *end;
	__u64 sum = 0;

	if (difference && bpf_xdp_adjust_tail(ctx, difference))
		return false;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	if ((void *)(eth + 1) > end)
		return false;
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, d->mac, ETH_ALEN);
	data += sizeof(*eth);
	if (p->tagged) {
		struct vlan_tag *tag = data;

		if ((void *)(tag + 1) > end)
			return false;
		tag->control &= bpf_htons(VLAN_KEPT);
		data += sizeof(*tag);
	}
	if (p->v6) {
		struct ipv6hdr *ip = data;
		struct in6_addr ours;

		tcp = (void *)(ip + 1);
		if ((void *)(tcp + 1) + 4 > end)
			return false;
		*(__be32 *)ip = bpf_htonl(6U << 28 | d->traffic_class << 20);
		ip->payload_len = bpf_htons(segment);
		ip->hop_limit = d->hop_limit;
		__builtin_memcpy(&ours, &ip->daddr, sizeof(ours));
		__builtin_memcpy(&ip->daddr, &ip->saddr, sizeof(ours));
		__builtin_memcpy(&ip->saddr, &ours, sizeof(ours));
	} else {
		struct iphdr *ip = data;
		__be32 *w = data;
		__be32 ours;

		tcp = (void *)(ip + 1);
		if ((void *)(tcp + 1) + 4 > end)
			return false;
		ours = ip->daddr;
		w[0] = bpf_htonl(0x45000000 | d->traffic_class << 16 | (sizeof(*ip) + segment));
		w[1] = bpf_htonl(0x4000);
		w[2] = bpf_htonl(d->hop_limit << 24 | IPPROTO_TCP << 16);
		ip->daddr = ip->saddr;
		ip->saddr = ours;
		ip->check = ~fold((__u64)w[0] + w[1] + w[2] + w[3] + w[4]);
	}
	if (!write_segment(tcp, end, a, &sum))
		return false;
	sum += p->sum_addresses + bpf_htonl(IPPROTO_TCP) + bpf_htonl(segment);
	tcp->check = ~fold(sum);
	return true;
}

/* The answer to a SYN, with a cookie. */
static __always_inline void make_answer(const struct defence *d, const struct ends *ends, const struct tcphdr *tcp,
					__u8 flags, const struct offer *offer, __u64 word, struct answer *a)
{
	__u64 now_ns = bpf_ktime_get_ns();
	__u32 epoch = cookie_epoch(d, now_ns);
	__u16 ours = ends->v6 ? d->mss_v6 : d->mss_v4;
	__u32 irs = bpf_ntohl(tcp->seq);
	__u32 smss = offer->mss < 48 ? 48 : offer->mss;
	__u32 size = size_index(smss > ours ? ours : smss, ends->v6);
	__u32 offered = UNSCALED;
	bool ecn = offer->timestamps && d->ecn && (flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR);

	if (offer->timestamps)
		offered = OFFERED_TIMESTAMPS | offer->scale | (offer->sack ? OFFERED_SACK : 0) | (ecn ? OFFERED_ECN : 0);
	a->seq = bpf_htonl((epoch & 3) << 30 | size << 27 | cookie_mac(d->making_key, ends, irs, epoch, size, offered));
	a->ack = bpf_htonl(irs + 1);
	a->window = bpf_htons(d->window);
	a->mss = ours;
	a->flags = TCP_SYN | TCP_ACK | (ecn ? TCP_ECE : 0);
	a->timestamps = offer->timestamps;
	a->sack = offer->sack;
	a->scaled = offer->scale != UNSCALED;
	a->shift = d->shift;
	if (offer->timestamps) {
		__u32 clock = (__u32)(now_ns / 1000000) + (__u32)(word >> 32);
		__u32 bits = offered & OPTION_BITS;
		__u32 tsval = (clock & ~OPTION_BITS) | bits;

		a->tsval = bpf_htonl(tsval - (bits > (clock & OPTION_BITS) ? OPTION_BITS + 1 : 0));
		a->tsecr = bpf_htonl(offer->tsval);
	}
}

static __always_inline bool is_same_station(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const void *)a, *y = (const void *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

/* A SYN to a port of ours. */
static __always_inline int defend_syn(struct xdp_md *ctx, struct packet *p, const struct defence *d, struct outpost *o,
				      const struct tcphdr *tcp, const struct ends *ends, __u8 flags)
{
	struct offer offer = { .mss = p->v6 ? 1220 : 536, .scale = UNSCALED };
	struct answer a = {};
	struct ethhdr *eth = (void *)(long)ctx->data;
	__u64 sum = sum_header(tcp), word;

	if ((void *)(eth + 1) > p->end)
		return REDIRECT;
	if (!is_same_station(eth->h_dest, d->mac) || eth->h_source[0] & 1)
		return REDIRECT;
	if (!p->v6 && !ipv4_is_intact(p->ip))
		return REDIRECT;
	if (!is_plain_source(p) || !has_way_back(d, p) || !read_offer(p, tcp, &sum, &offer))
		return REDIRECT;
	p->sum_addresses = sum_addresses(p);
	if (d->verify && fold(sum + p->sum_addresses + bpf_htonl(IPPROTO_TCP) + bpf_htonl(p->left)) != 0xffff)
		return REDIRECT;
	word = tuple_word(d, ends);
	if (may_live(d, word))
		return REDIRECT;
	make_answer(d, ends, tcp, flags, &offer, word, &a);
	if (!write_answer(ctx, p, d, &a))
		return REDIRECT;
	o->answered += 1;
	return ANSWER_SYN;
}

/* A pure acknowledgement to a port of ours: of a flow that lives, or with a cookie, or for nothing. */
static __always_inline int defend_ack(struct packet *p, const struct defence *d, const struct tcphdr *tcp,
				      const struct ends *ends)
{
	const __be32 *w = (const void *)(tcp + 1);
	__u32 offered = UNSCALED;

	if (tcp->doff == 8 && (const void *)(w + 3) <= p->end && w[0] == bpf_htonl(0x0101080a))
		offered = OFFERED_TIMESTAMPS | (bpf_ntohl(w[2]) & OPTION_BITS);
	else if (tcp->doff != 5)
		return REDIRECT;
	if (may_live(d, tuple_word(d, ends)))
		return REDIRECT;
	if (is_cookie(d, ends, bpf_ntohl(tcp->seq) - 1, bpf_ntohl(tcp->ack_seq) - 1, offered, bpf_ktime_get_ns()))
		return REDIRECT;
	return DROP_NO_COOKIE;
}

/* Decides again for a segment that is ours, while the worker of its queue has asked for it. */
static __always_inline int defend(struct xdp_md *ctx, struct packet *p)
{
	struct outpost *o = outpost_of(ctx->rx_queue_index), *common = outpost_of(MAX_WORKERS);
	struct tcphdr *tcp = p->at;
	const struct defence *d;
	__u32 which;
	struct ends ends = {};
	__u8 flags;

	if (!may_answer)
		return REDIRECT;
	if (!o || !common || ctx->rx_queue_index >= MAX_WORKERS || !(*(volatile __u64 *)&o->command & OUTPOST_ANSWERING))
		return REDIRECT;
	which = *(volatile __u64 *)&common->defence;
	d = bpf_map_lookup_elem(&defences, &which);
	if (!d || (void *)(tcp + 1) > p->end || tcp->doff * 4 != p->left || !listens(bpf_ntohs(tcp->dest)))
		return REDIRECT;
	flags = ((__u8 *)tcp)[13];
	read_ends(p, tcp, &ends);
	switch (flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) {
	case TCP_SYN:
		return defend_syn(ctx, p, d, o, tcp, &ends, flags);
	case TCP_ACK:
		return defend_ack(p, d, tcp, &ends);
	default:
		return REDIRECT;
	}
}

#endif
