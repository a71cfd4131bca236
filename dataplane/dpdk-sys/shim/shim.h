/* What Rust needs of DPDK that is inline, a macro, or a field whose place in a struct is all that matters. */
#ifndef WEIR_DPDK_SHIM_H
#define WEIR_DPDK_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <rte_version.h>

/* Where the fields of a buffer are: true for every release, also those that put them into unions. */
enum weir_mbuf_offsets {
	WEIR_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	WEIR_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	WEIR_MBUF_PORT = offsetof(struct rte_mbuf, port),
	WEIR_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	WEIR_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	WEIR_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	WEIR_MBUF_RSS = offsetof(struct rte_mbuf, hash.rss),
	WEIR_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
};

static const uint64_t WEIR_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t WEIR_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t WEIR_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t WEIR_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t WEIR_RX_IP_CKSUM_NONE = RTE_MBUF_F_RX_IP_CKSUM_NONE;
static const uint64_t WEIR_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t WEIR_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t WEIR_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t WEIR_RX_L4_CKSUM_NONE = RTE_MBUF_F_RX_L4_CKSUM_NONE;

static const uint64_t WEIR_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t WEIR_OFFLOAD_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t WEIR_OFFLOAD_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t WEIR_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;

static const uint64_t WEIR_RSS_IPV4 = RTE_ETH_RSS_IPV4;
static const uint64_t WEIR_RSS_FRAG_IPV4 = RTE_ETH_RSS_FRAG_IPV4;
static const uint64_t WEIR_RSS_IPV4_TCP = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t WEIR_RSS_IPV4_UDP = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t WEIR_RSS_IPV4_SCTP = RTE_ETH_RSS_NONFRAG_IPV4_SCTP;
static const uint64_t WEIR_RSS_IPV4_OTHER = RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
static const uint64_t WEIR_RSS_IPV6 = RTE_ETH_RSS_IPV6;
static const uint64_t WEIR_RSS_FRAG_IPV6 = RTE_ETH_RSS_FRAG_IPV6;
static const uint64_t WEIR_RSS_IPV6_TCP = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint64_t WEIR_RSS_IPV6_UDP = RTE_ETH_RSS_NONFRAG_IPV6_UDP;
static const uint64_t WEIR_RSS_IPV6_SCTP = RTE_ETH_RSS_NONFRAG_IPV6_SCTP;
static const uint64_t WEIR_RSS_IPV6_OTHER = RTE_ETH_RSS_NONFRAG_IPV6_OTHER;

static const uint32_t WEIR_LINK_SPEED_UNKNOWN = RTE_ETH_SPEED_NUM_UNKNOWN;
static const uint16_t WEIR_HEADROOM_BYTES = RTE_PKTMBUF_HEADROOM;
static const uint32_t WEIR_PORTS_MAX = RTE_MAX_ETHPORTS;

/* What receiving had to mend or refuse, since the queue was made. */
struct weir_rx_counters {
	/* Frames in several buffers that were put into one. */
	uint64_t linearised;
	/* Tags the device had taken off that were put back. */
	uint64_t tags_restored;
	/* Freed: a frame longer than one buffer. */
	uint64_t refused_long;
	/* Freed: no room to put the tag back. */
	uint64_t refused_tag;
	/* Freed: the buffer is held by someone else as well, writing to it would show there. */
	uint64_t refused_shared;
};

/*
 * Receives up to `count` frames. Each is in one buffer that nobody else holds, with the VLAN tags it had
 * on the wire.
 */
uint16_t weir_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count,
		struct weir_rx_counters *counters);
uint16_t weir_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);

struct rte_mbuf *weir_mbuf_alloc(struct rte_mempool *pool);
/* All or none: 0, or a negative errno. */
int weir_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, uint32_t count);
void weir_mbuf_free(struct rte_mbuf *mbuf);
uint16_t weir_mbuf_data_room(struct rte_mempool *pool);

/* Takes the outermost 802.1Q tag off and notes it beside the frame, as a device does. 0, or -1: no tag. */
int weir_vlan_strip(struct rte_mbuf *mbuf);
/* The same for a service tag followed by an 802.1Q tag. */
int weir_qinq_strip(struct rte_mbuf *mbuf);
/* Hangs `tail` behind `head`: 0, or a negative errno and nothing changed. */
int weir_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail);

/* 1: put in, 0: full. */
unsigned int weir_ring_put(struct rte_ring *ring, struct rte_mbuf *mbuf);
/* NULL: empty. */
struct rte_mbuf *weir_ring_take(struct rte_ring *ring);

int weir_errno(void);
uint64_t weir_rdtsc(void);

/* Sends DPDK's log lines to `sink` instead of the standard error. 0, or -1. Once a process. */
int weir_log_to(void (*sink)(const char *bytes, size_t length));

/* Names of devices: PCI addresses, and those of virtual devices. */
#define WEIR_DEVICE_NAME_BYTES 64
/* From now on keeps the names of devices that the machine asks to be let go of. 0, or an error. */
int weir_note_removed(void);
/* 1 and the name of one of them, which is forgotten; 0: there is none. */
int weir_take_removed(char *name);

#endif
