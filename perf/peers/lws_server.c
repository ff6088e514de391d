// A peer: libwebsockets with its own loop, one thread. Each path echoes, but what arrives on /pub
// goes to every connection on /sub. A writeable callback writes one message, as the library asks.
//
// Configured for speed: no extensions (no compression), no time-outs or validity pings, a service
// buffer of 64 KiB, TCP_NODELAY (the library's default).
//
//   lws_server PORT       (0 picks a free one; prints "listening PORT", ends by signal)
#define _GNU_SOURCE
#include <errno.h>
#include <libwebsockets.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kServiceBufferBytes = 64 * 1024 };

// A message; the bytes before `payload` are the library's, for the frame's header.
struct message {
  struct message* next;  // in an echoing session's queue
  size_t bytes;
  unsigned references;
  bool is_binary;
  unsigned char memory[];  // LWS_PRE bytes, then the payload
};

// What a subscriber has yet to send.
struct delivery {
  struct delivery* next;
  struct message* message;
};

struct session {
  struct lws* socket;
  struct session* next_subscriber;
  struct delivery* first;
  struct delivery* last;
  struct message* incoming;  // until its last fragment
  bool is_publisher;
  bool is_subscriber;
};

static struct session* subscribers;
static volatile sig_atomic_t stopped;
static struct lws_context* context;

static void on_stop(int signal_number) {
  (void)signal_number;
  stopped = 1;
  lws_cancel_service(context);
}

static void* or_die(void* memory) {
  if (memory == NULL) abort();
  return memory;
}

static void release(struct message* message) {
  if (--message->references == 0) free(message);
}

static void queue(struct session* session, struct message* message) {
  struct delivery* const delivery = or_die(malloc(sizeof *delivery));
  *delivery = (struct delivery){.message = message};
  ++message->references;
  if (session->first == NULL) {
    session->first = delivery;
    lws_callback_on_writable(session->socket);
  } else {
    session->last->next = delivery;
  }
  session->last = delivery;
}

static void on_open(struct session* session, struct lws* socket) {
  char path[8] = "";
  *session = (struct session){.socket = socket};
  lws_hdr_copy(socket, path, sizeof path, WSI_TOKEN_GET_URI);
  session->is_publisher = strcmp(path, "/pub") == 0;
  session->is_subscriber = strcmp(path, "/sub") == 0;
  if (session->is_subscriber) {
    session->next_subscriber = subscribers;
    subscribers = session;
  }
}

static void on_receive(struct session* session, void const* bytes, size_t count) {
  size_t const before = session->incoming == NULL ? 0 : session->incoming->bytes;
  size_t const expected = before + count + lws_remaining_packet_payload(session->socket);
  session->incoming =
      or_die(realloc(session->incoming, sizeof *session->incoming + LWS_PRE + expected));
  struct message* const message = session->incoming;
  if (before == 0) *message = (struct message){.is_binary = lws_frame_is_binary(session->socket)};
  memcpy(message->memory + LWS_PRE + before, bytes, count);
  message->bytes = before + count;
  if (!lws_is_final_fragment(session->socket)) return;
  session->incoming = NULL;
  message->references = 1;
  if (session->is_publisher) {
    for (struct session* each = subscribers; each != NULL; each = each->next_subscriber) {
      queue(each, message);
    }
  } else {
    queue(session, message);
  }
  release(message);
}

// Returns false if the connection is broken.
static bool on_writable(struct session* session) {
  struct delivery* const delivery = session->first;
  if (delivery == NULL) return true;
  struct message* const message = delivery->message;
  int const written = lws_write(session->socket, message->memory + LWS_PRE, message->bytes,
                                message->is_binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
  if (written < (int)message->bytes) return false;
  session->first = delivery->next;
  release(message);
  free(delivery);
  if (session->first != NULL) lws_callback_on_writable(session->socket);
  return true;
}

static void on_close(struct session* session) {
  struct session** link = &subscribers;
  while (*link != NULL && *link != session) link = &(*link)->next_subscriber;
  if (*link != NULL) *link = session->next_subscriber;
  while (session->first != NULL) {
    struct delivery* const delivery = session->first;
    session->first = delivery->next;
    release(delivery->message);
    free(delivery);
  }
  free(session->incoming);
}

static int on_event(struct lws* socket, enum lws_callback_reasons reason, void* user, void* bytes,
                    size_t count) {
  switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
      on_open(user, socket);
      return 0;
    case LWS_CALLBACK_RECEIVE:
      on_receive(user, bytes, count);
      return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
      return on_writable(user) ? 0 : -1;
    case LWS_CALLBACK_CLOSED:
      on_close(user);
      return 0;
    default:
      return lws_callback_http_dummy(socket, reason, user, bytes, count);
  }
}

int main(int argc, char** argv) {
  struct lws_protocols const protocols[] = {
      {.name = "messages", .callback = on_event, .per_session_data_size = sizeof(struct session)},
      {0}};
  struct lws_context_creation_info const info = {
      .port = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0,
      .iface = "127.0.0.1",
      .protocols = protocols,
      .pt_serv_buf_size = kServiceBufferBytes,
      .gid = -1,
      .uid = -1,
      .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS};
  lws_set_log_level(LLL_ERR, NULL);
  context = lws_create_context(&info);
  if (context == NULL) return 1;
  struct lws_vhost* const host = lws_create_vhost(context, &info);
  if (host == NULL) return 1;
  signal(SIGTERM, on_stop);
  signal(SIGINT, on_stop);
  printf("listening %d\n", lws_get_vhost_listen_port(host));
  fflush(stdout);
  while (!stopped && lws_service(context, 0) >= 0) {
  }
  lws_context_destroy(context);
  return 0;
}
