/* The verdicts of the XDP program, in the order of their counters. `Verdict` in src/driver/xdp_verdict.rs mirrors
 * this list; a test compares the two. */
#ifndef HANDFAST_VERDICTS_H
#define HANDFAST_VERDICTS_H

enum verdict {
	/* Taken: ours, and handed to the socket of its queue. */
	REDIRECT,
	/* Answered: a SYN, by a SYN-ACK with a cookie that took its place. */
	ANSWER_SYN,
	/* Passed to the kernel: neither ARP nor IP behind at most one VLAN tag. */
	PASS_NOT_IP,
	/* Passed: ends before the address that it is for. */
	PASS_TOO_SHORT,
	/* Passed: for an address that is not ours. */
	PASS_NOT_OURS,
	/* Passed: for a shared address, but neither for one of our TCP ports nor an error about it. */
	PASS_SHARED,
	/* Passed: a fragment for a shared address, in which no port of ours is to be seen. */
	PASS_FRAGMENT,
	/* Passed: ours, but its queue has no socket. */
	PASS_NO_SOCKET,
	/* Dropped: the version in the IP header is not the one that the EtherType says. */
	DROP_IP_VERSION,
	/* Dropped: the IPv4 header length is below 20 octets or beyond the packet. */
	DROP_IP_HEADER_LENGTH,
	/* Dropped: the IP packet is longer than its frame. */
	DROP_IP_LENGTH,
	/* Dropped: an IPv6 extension header is longer than its packet. */
	DROP_EXTENSION_HEADER,
	/* Dropped: fewer than the 20 octets of a TCP header. */
	DROP_TCP_TRUNCATED,
	/* Dropped: the TCP data offset is below 5 or beyond the segment. */
	DROP_TCP_DATA_OFFSET,
	/* Dropped: fewer than the 8 octets of an ICMP header. */
	DROP_ICMP_TRUNCATED,
	/* Dropped: an acknowledgement of no flow that lives, and without a cookie, while SYNs are answered here. */
	DROP_NO_COOKIE,
	/* Discarded: what the target of our own flood answers to its sources. */
	FLOOD_ANSWER,
	/* How many verdicts there are. */
	VERDICTS,
};

/* From here on a verdict drops; before it, all but REDIRECT and ANSWER_SYN pass. */
#define FIRST_DROP DROP_IP_VERSION

#endif
