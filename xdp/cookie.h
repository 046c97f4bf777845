/* SYN cookies and what they are made of: the same octets as src/tcp/cookie.rs and src/tcp/isn.rs. */
#ifndef HANDFAST_COOKIE_H
#define HANDFAST_COOKIE_H

#include "maps.h"

#define EPOCH_NS 60000000000ULL
#define COOKIE_MAC ((1U << 27) - 1)
/* The options in the low bits of TSval, and in the MAC whether there is one. */
#define OPTION_BITS 0x3f
#define UNSCALED 0xf
#define OFFERED_SACK (1 << 4)
#define OFFERED_ECN (1 << 5)
#define OFFERED_TIMESTAMPS (1 << 6)

/* The two ends of a segment, as they are hashed: our address first; both fill one word with IPv4, four with IPv6. */
struct ends {
	__u64 address[4];
	__u64 ports; /* ours in the upper 16 of 32 bits */
	bool v6;
};

/* SipHash-2-4, word by word (Aumasson and Bernstein, 2012). */
struct sip {
	__u64 v0, v1, v2, v3;
};

#define ROTATE(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = ROTATE(s->v1, 13) ^ s->v0;
	s->v0 = ROTATE(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = ROTATE(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = ROTATE(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = ROTATE(s->v1, 17) ^ s->v2;
	s->v2 = ROTATE(s->v2, 32);
}

static __always_inline void sip_word(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

static __always_inline void sip_begin(struct sip *s, const __u64 key[2])
{
	s->v0 = key[0] ^ 0x736f6d6570736575ULL;
	s->v1 = key[1] ^ 0x646f72616e646f6dULL;
	s->v2 = key[0] ^ 0x6c7967656e657261ULL;
	s->v3 = key[1] ^ 0x7465646279746573ULL;
}

/* `last` holds the octets behind the last whole word, and the length of all in its uppermost octet. */
static __always_inline __u64 sip_end(struct sip *s, __u64 last)
{
	sip_word(s, last);
	s->v2 ^= 0xff;
	sip_round(s);
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static __always_inline void sip_addresses(struct sip *s, const struct ends *ends)
{
	sip_word(s, ends->address[0]);
	if (!ends->v6)
		return;
	sip_word(s, ends->address[1]);
	sip_word(s, ends->address[2]);
	sip_word(s, ends->address[3]);
}

/* The tuple's number: the lower half makes ISNs and chooses the filter's bit, the upper half is the offset of TSval. */
static __always_inline __u64 tuple_word(const struct defence *d, const struct ends *ends)
{
	struct sip s;

	sip_begin(&s, d->isn_key);
	sip_addresses(&s, ends);
	return sip_end(&s, ends->ports | (ends->v6 ? 36ULL : 12ULL) << 56);
}

static __always_inline __u32 cookie_mac(const __u64 key[2], const struct ends *ends, __u32 irs, __u32 epoch, __u32 size,
					__u32 offered)
{
	struct sip s;

	sip_begin(&s, key);
	sip_addresses(&s, ends);
	sip_word(&s, ends->ports | (__u64)irs << 32);
	return sip_end(&s, epoch | (__u64)size << 32 | (__u64)offered << 40 | (ends->v6 ? 46ULL : 22ULL) << 56) & COOKIE_MAC;
}

static __always_inline __u32 cookie_epoch(const struct defence *d, __u64 now_ns)
{
	return (now_ns + d->clock_ahead_ns) / EPOCH_NS;
}

/* The size in the cookie for what was agreed on: the largest of the table that is not above it. */
static __always_inline __u32 size_index(__u32 smss, bool v6)
{
	__u32 i = 0;

	/* MSS_V4 and MSS_V6 in src/tcp/cookie.rs, without the first. */
	i += smss >= 536;
	i += smss >= 1220;
	if (v6) {
		i += smss >= 1280;
		i += smss >= 1360;
		i += smss >= 1400;
		i += smss >= 1420;
		i += smss >= 1440;
	} else {
		i += smss >= 1360;
		i += smss >= 1400;
		i += smss >= 1440;
		i += smss >= 1452;
		i += smss >= 1460;
	}
	return i;
}

/* Whether `cookie` is one for these ends, now. */
static __always_inline bool is_cookie(const struct defence *d, const struct ends *ends, __u32 irs, __u32 cookie,
				      __u32 offered, __u64 now_ns)
{
	__u32 epoch = cookie_epoch(d, now_ns);
	__u32 size = cookie >> 27 & 7;

	switch ((epoch - (cookie >> 30)) & 3) {
	case 0:
		break;
	case 1:
		epoch -= 1;
		break;
	case 3:
		epoch += 1;
		break;
	default:
		return false;
	}
	if (cookie_mac(d->making_key, ends, irs, epoch, size, offered) == (cookie & COOKIE_MAC))
		return true;
	return d->accepts && cookie_mac(d->accepting_key, ends, irs, epoch, size, offered) == (cookie & COOKIE_MAC);
}

#endif
