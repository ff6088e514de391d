#pragma once
// Kernel constants that liburing 2.3 (Debian 12) lacks. This is the one place that spells their
// values. Every value is as in the kernel's include/uapi/linux/io_uring.h; the comment names the
// first kernel that knows it and the manual page (liburing's man/) that explains it.
//
// What the kernel defines as a macro is defined here under its own name, behind #ifndef. What it
// defines as an enumerator cannot be tested for, so it has a name of its own (kOp..., kRegister...,
// kBufferRing...) that a newer liburing does not collide with.
//
// A constant here says nothing about the running kernel: ask runtime/features.hpp.

#include <liburing.h>

#include <cstdint>

// --- io_uring_setup(2)

// Linux 6.6, io_uring_setup(2). No index array between the submission queue and its entries. Must
// not be given to liburing below 2.6: it writes the array that is then not there, over the ring's
// head. Only for rings that are mapped by hand.
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

// io_uring_params.features, io_uring_setup(2).
// Linux 6.3: a ring registered in itself can be used for io_uring_register as well.
#ifndef IORING_FEAT_REG_REG_RING
#define IORING_FEAT_REG_REG_RING (1U << 13)
#endif
// Linux 6.10: IORING_RECVSEND_BUNDLE, and sends that take their buffers from a buffer group.
#ifndef IORING_FEAT_RECVSEND_BUNDLE
#define IORING_FEAT_RECVSEND_BUNDLE (1U << 14)
#endif
// Linux 6.12: io_uring_enter waits for a batch, but not longer than a minimum time.
#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15)
#endif

// --- Operations

// sqe->ioprio of receive, accept and send.
// Linux 6.0, io_uring_prep_recv_multishot(3).
#ifndef IORING_RECV_MULTISHOT
#define IORING_RECV_MULTISHOT (1U << 1)
#endif
// Linux 5.19, io_uring_prep_multishot_accept(3).
#ifndef IORING_ACCEPT_MULTISHOT
#define IORING_ACCEPT_MULTISHOT (1U << 0)
#endif
// Linux 6.2, io_uring_prep_send_zc(3): the notification says whether bytes were copied after all.
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)
#endif
// Linux 6.10, io_uring_prep_recv(3) and io_uring_prep_send_bundle(3): one completion covers several
// provided buffers that follow one another.
#ifndef IORING_RECVSEND_BUNDLE
#define IORING_RECVSEND_BUNDLE (1U << 4)
#endif

// cqe->res of a zero-copy notification if IORING_SEND_ZC_REPORT_USAGE was asked for. Linux 6.2.
#ifndef IORING_NOTIF_USAGE_ZC_COPIED
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

// cqe->flags. Linux 6.12, io_uring_setup_buf_ring(3): the buffer is not used up; the kernel keeps
// filling it (buffer rings made with kBufferRingIncremental).
#ifndef IORING_CQE_F_BUF_MORE
#define IORING_CQE_F_BUF_MORE (1U << 4)
#endif

// sqe->msg_ring_flags. Linux 6.3, io_uring_prep_msg_ring(3): sqe->file_index becomes cqe->flags.
#ifndef IORING_MSG_RING_FLAGS_PASS
#define IORING_MSG_RING_FLAGS_PASS (1U << 1)
#endif

// sqe->cancel_flags, io_uring_prep_cancel(3). Linux 6.6.
#ifndef IORING_ASYNC_CANCEL_USERDATA
#define IORING_ASYNC_CANCEL_USERDATA (1U << 4)
#endif
#ifndef IORING_ASYNC_CANCEL_OP
#define IORING_ASYNC_CANCEL_OP (1U << 5)
#endif

namespace corelane::runtime {

// What every ring of ours is made with (io_uring_setup(2), all there since Linux 6.1). One thread
// submits; completions are posted only when it enters the kernel, so that a running handler is
// never interrupted; a flag in shared memory says that there are some to post.
inline constexpr unsigned kRingSetupFlags =
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
    IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;

// io_uring_op. Linux 6.8, io_uring_prep_fixed_fd_install(3): a direct descriptor becomes a normal
// one (for handing a connection to another process).
inline constexpr std::uint8_t kOpFixedFdInstall = 54;
// sqe->cmd_op of IORING_OP_URING_CMD on a socket (enum io_uring_socket_op,
// SOCKET_URING_OP_GETSOCKOPT). Linux 6.7, io_uring_prep_cmd_sock(3). Options of SOL_SOCKET only.
inline constexpr std::uint32_t kSocketGetOption = 2;
static_assert(IORING_OP_SENDMSG_ZC == 48, "the operations are numbered without gaps");

// io_uring_buf_reg.flags (liburing 2.3 calls that field `pad`). Linux 6.12,
// io_uring_setup_buf_ring(3): a buffer is filled piece by piece before it is used up.
inline constexpr std::uint16_t kBufferRingIncremental = 2;

}  // namespace corelane::runtime
