/* DPDK's inline functions behind symbols, one call per burst. */
#define _GNU_SOURCE
/* Word of devices that are pulled out has no other function. */
#define ALLOW_EXPERIMENTAL_API
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_log.h>
#include <rte_spinlock.h>

#include "shim.h"

#define TAG_BYTES 4
#define ADDRESSES_BYTES 12

#define STRIPPED (RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED)

/* Puts one tag behind the addresses, growing the frame at the front or, without headroom, at the back. */
static int put_tag(struct rte_mbuf *m, uint16_t ether_type, uint16_t tci)
{
	if (rte_pktmbuf_data_len(m) < ADDRESSES_BYTES)
		return -1;
	char *frame = rte_pktmbuf_mtod(m, char *);
	if (rte_pktmbuf_headroom(m) >= TAG_BYTES) {
		frame = memmove(rte_pktmbuf_prepend(m, TAG_BYTES), frame, ADDRESSES_BYTES);
	} else {
		uint16_t rest = rte_pktmbuf_data_len(m) - ADDRESSES_BYTES;
		if (rte_pktmbuf_append(m, TAG_BYTES) == NULL)
			return -1;
		memmove(frame + ADDRESSES_BYTES + TAG_BYTES, frame + ADDRESSES_BYTES, rest);
	}
	rte_be16_t tag[2] = { rte_cpu_to_be_16(ether_type), rte_cpu_to_be_16(tci) };
	memcpy(frame + ADDRESSES_BYTES, tag, TAG_BYTES);
	return 0;
}

/* Both tags or none: 0, or -1 when the frame has no room for them. */
static int restore_tags(struct rte_mbuf *m, struct weir_rx_counters *counters)
{
	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
		if (put_tag(m, RTE_ETHER_TYPE_VLAN, m->vlan_tci) != 0)
			return -1;
		counters->tags_restored++;
	}
	if (m->ol_flags & RTE_MBUF_F_RX_QINQ_STRIPPED) {
		if (put_tag(m, RTE_ETHER_TYPE_QINQ, m->vlan_tci_outer) != 0)
			return -1;
		counters->tags_restored++;
	}
	m->ol_flags &= ~STRIPPED;
	return 0;
}

/* The rare frame that is not yet what Rust is promised. 0, or -1: refused. */
static int mend(struct rte_mbuf *m, struct weir_rx_counters *counters)
{
	if (rte_mbuf_refcnt_read(m) != 1 || RTE_MBUF_CLONED(m)) {
		counters->refused_shared++;
		return -1;
	}
	if (m->nb_segs != 1) {
		if (rte_pktmbuf_linearize(m) != 0) {
			counters->refused_long++;
			return -1;
		}
		counters->linearised++;
	}
	if ((m->ol_flags & STRIPPED) && restore_tags(m, counters) != 0) {
		counters->refused_tag++;
		return -1;
	}
	return 0;
}

/* What is the matter with a frame; 0: nothing. */
static inline uint64_t oddity(const struct rte_mbuf *m)
{
	return (uint64_t)(m->refcnt ^ 1) | (uint64_t)(m->nb_segs ^ 1) |
		(m->ol_flags & (STRIPPED | RTE_MBUF_F_INDIRECT));
}

static __rte_noinline uint16_t mend_burst(struct rte_mbuf **mbufs, uint16_t received,
		struct weir_rx_counters *counters)
{
	uint16_t kept = 0;
	for (uint16_t i = 0; i < received; i++) {
		struct rte_mbuf *m = mbufs[i];
		if (oddity(m) != 0 && mend(m, counters) != 0)
			rte_pktmbuf_free(m);
		else
			mbufs[kept++] = m;
	}
	return kept;
}

uint16_t weir_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count,
		struct weir_rx_counters *counters)
{
	uint16_t received = rte_eth_rx_burst(port, queue, mbufs, count);
	uint64_t odd = 0;
/* Worth 2 % of a bare forwarding loop. */
#pragma GCC unroll 4
	for (uint16_t i = 0; i < received; i++)
		odd |= oddity(mbufs[i]);
	return likely(odd == 0) ? received : mend_burst(mbufs, received, counters);
}

uint16_t weir_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

/* Devices that the machine asks to be let go of: few, and read soon. */
#define REMOVED_MAX 16
static rte_spinlock_t removed_lock = RTE_SPINLOCK_INITIALIZER;
static char removed[REMOVED_MAX][WEIR_DEVICE_NAME_BYTES];
static unsigned int removed_count;

static void note_removed(const char *device, enum rte_dev_event_type event, void *unused)
{
	(void)unused;
	if (event != RTE_DEV_EVENT_REMOVE || device == NULL)
		return;
	rte_spinlock_lock(&removed_lock);
	if (removed_count < REMOVED_MAX)
		snprintf(removed[removed_count++], WEIR_DEVICE_NAME_BYTES, "%s", device);
	rte_spinlock_unlock(&removed_lock);
}

int weir_note_removed(void)
{
	return rte_dev_event_callback_register(NULL, note_removed, NULL);
}

int weir_take_removed(char *name)
{
	rte_spinlock_lock(&removed_lock);
	int found = removed_count > 0;
	if (found)
		memcpy(name, removed[--removed_count], WEIR_DEVICE_NAME_BYTES);
	rte_spinlock_unlock(&removed_lock);
	return found;
}

struct rte_mbuf *weir_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int weir_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, uint32_t count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

void weir_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

uint16_t weir_mbuf_data_room(struct rte_mempool *pool)
{
	return rte_pktmbuf_data_room_size(pool);
}

int weir_vlan_strip(struct rte_mbuf *mbuf)
{
	if (rte_pktmbuf_data_len(mbuf) < ADDRESSES_BYTES + TAG_BYTES)
		return -1;
	return rte_vlan_strip(mbuf);
}

int weir_qinq_strip(struct rte_mbuf *mbuf)
{
	rte_be16_t tag[2];
	if (rte_pktmbuf_data_len(mbuf) < ADDRESSES_BYTES + 2 * TAG_BYTES)
		return -1;
	char *frame = rte_pktmbuf_mtod(mbuf, char *);
	memcpy(tag, frame + ADDRESSES_BYTES, TAG_BYTES);
	if (tag[0] != rte_cpu_to_be_16(RTE_ETHER_TYPE_QINQ))
		return -1;
	memmove(rte_pktmbuf_adj(mbuf, TAG_BYTES), frame, ADDRESSES_BYTES);
	mbuf->vlan_tci_outer = rte_be_to_cpu_16(tag[1]);
	mbuf->ol_flags |= RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED;
	return rte_vlan_strip(mbuf);
}

int weir_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail)
{
	return rte_pktmbuf_chain(head, tail);
}

unsigned int weir_ring_put(struct rte_ring *ring, struct rte_mbuf *mbuf)
{
	return rte_ring_enqueue(ring, mbuf) == 0;
}

struct rte_mbuf *weir_ring_take(struct rte_ring *ring)
{
	void *mbuf = NULL;
	return rte_ring_dequeue(ring, &mbuf) == 0 ? mbuf : NULL;
}

int weir_errno(void)
{
	return rte_errno;
}

uint64_t weir_rdtsc(void)
{
	return rte_rdtsc();
}

static void (*log_sink)(const char *bytes, size_t length);

static ssize_t log_write(void *cookie, const char *bytes, size_t length)
{
	(void)cookie;
	log_sink(bytes, length);
	return (ssize_t)length;
}

int weir_log_to(void (*sink)(const char *bytes, size_t length))
{
	cookie_io_functions_t functions = { .write = log_write };
	log_sink = sink;
	FILE *stream = fopencookie(NULL, "w", functions);
	if (stream == NULL)
		return -1;
	return rte_openlog_stream(stream);
}
