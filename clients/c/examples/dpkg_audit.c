/*
 * dpkg_audit: records what dpkg did on this machine as audit events.
 *
 *   dpkg_audit [--server HOST:PORT] [--generate N] [LOGFILE]      (default /var/log/dpkg.log)
 *
 * Shows how to stream batches with several of them unanswered, how to choose event ids so that
 * running it again stores nothing twice, and how to read receipts. A missing or empty log is
 * replaced by N generated lines when --generate asks for it.
 */
#include "auditstore/auditstore.h"

#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH_EVENTS 100
#define WINDOW       8 /* batches sent and not answered yet */
#define TIMEOUT_MS   (300 * 1000)

/* One event with all it points to. */
struct record {
  Auditstore__V1__AuditEvent event;
  Auditstore__V1__Actor actor;
  Auditstore__V1__Resource resource;
  Google__Protobuf__Timestamp time;
  char line[1024]; /* cut into words in place */
  char id[37], run_id[37], type[64];
  char *data; /* owned */
};

/* How often each line has been seen: dpkg may log the same line twice in one second. */
struct seen {
  unsigned times;
  char line[1024];
};

struct program {
  struct auditstore_channel *channel;
  struct auditstore_v1_audit_store_stream_events_stream *stream;
  struct record records[BATCH_EVENTS];
  size_t count;
  char host[256];
  char run_id[37]; /* event id of the latest "startup": ties together what one run of dpkg did */
  void *seen;      /* tree of struct seen */
  int sent, answered;
  uint64_t stored, duplicates, refused;
};

static char empty[] = "", program_type[] = "program", program_id[] = "dpkg", version[] = "1.0";
static char type_package[] = "package", type_file[] = "file", type_host[] = "host";

/* ---- from a line to an event ---- */

static int compare_seen(const void *a, const void *b) {
  return strcmp(((const struct seen *)a)->line, ((const struct seen *)b)->line);
}

static unsigned count_line(struct program *p, const char *line) {
  struct seen *entry = calloc(1, sizeof(*entry));
  if (!entry)
    exit(EXIT_FAILURE);
  snprintf(entry->line, sizeof(entry->line), "%s", line);
  struct seen *found = *(struct seen **)tsearch(entry, &p->seen, compare_seen);
  if (found != entry)
    free(entry);
  return ++found->times;
}

/* A UUID of version 8: the hash of what makes this event itself. The same line of the same machine
 * gets the same id each time, and the store recognises it. */
static void make_id(struct program *p, const char *line, char ret_id[37]) {
  char text[1400];
  unsigned char h[EVP_MAX_MD_SIZE];
  snprintf(text, sizeof(text), "%s\n%s\n%u", p->host, line, count_line(p, line));
  EVP_Digest(text, strlen(text), h, NULL, EVP_sha256(), NULL);
  h[6] = (unsigned char)((h[6] & 0x0F) | 0x80);
  h[8] = (unsigned char)((h[8] & 0x3F) | 0x80);
  snprintf(ret_id, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", h[0],
           h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10], h[11], h[12], h[13], h[14],
           h[15]);
}

static void record_init(struct record *r) {
  free(r->data);
  r->data = NULL;
  auditstore__v1__audit_event__init(&r->event);
  auditstore__v1__actor__init(&r->actor);
  auditstore__v1__resource__init(&r->resource);
  google__protobuf__timestamp__init(&r->time);
  r->event.event_id = r->id;
  r->event.event_time = &r->time;
  r->event.event_type = r->type;
  r->event.event_version = version;
  r->event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
  r->event.severity = AUDITSTORE__V1__SEVERITY__SEVERITY_INFO;
  r->event.actor = &r->actor;
  r->event.resource = &r->resource;
  r->actor.type = program_type;
  r->actor.id = program_id;
}

/* dpkg writes the machine's local time. */
static bool parse_time(const char *text, Google__Protobuf__Timestamp *time) {
  struct tm tm = {.tm_isdst = -1};
  const char *end = strptime(text, "%Y-%m-%d %H:%M:%S ", &tm);
  if (!end)
    return false;
  tm.tm_isdst = -1;
  time->seconds = mktime(&tm);
  return true;
}

/* {"from": ..., "to": ...}: dpkg's "<none>" and missing words are left out. */
static char *make_data(const char *first_name, const char *first, const char *second_name,
                       const char *second) {
  json_t *object = json_object();
  if (*first && strcmp(first, "<none>") != 0)
    json_object_set_new(object, first_name, json_string(first));
  if (*second && strcmp(second, "<none>") != 0)
    json_object_set_new(object, second_name, json_string(second));
  char *text = json_dumps(object, JSON_COMPACT);
  json_decref(object);
  return text;
}

/* words: date, time, verb, and up to three more; a missing one is "". */
static void fill(struct program *p, struct record *r, char **words) {
  char *verb = words[2];
  bool is_status = strcmp(verb, "status") == 0;
  bool is_file = strcmp(verb, "conffile") == 0;
  bool is_startup = strcmp(verb, "startup") == 0;
  char *kind = is_file ? type_file : is_startup ? type_host : type_package;
  snprintf(r->type, sizeof(r->type), "%s.%s", kind, verb);
  r->event.event_category = kind;
  r->event.event_action = verb;
  r->resource.type = kind;
  r->resource.id = is_status ? words[4] : is_startup ? p->host : words[3];
  r->resource.namespace_ = p->host;
  if (is_status)
    r->data = make_data("status", words[3], "version", words[5]);
  else if (is_startup)
    r->data = make_data("what", words[3], "command", words[4]);
  else if (is_file)
    r->data = make_data("decision", words[4], "", "");
  else
    r->data = make_data("from", words[4], "to", words[5]);
  r->event.event_data = r->data ? r->data : empty;
  if (is_status && strncmp(words[3], "half-", 5) == 0)
    r->event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_PENDING;
  if (is_startup)
    memcpy(p->run_id, r->id, sizeof(p->run_id));
  memcpy(r->run_id, p->run_id, sizeof(r->run_id));
  r->event.correlation_id = r->run_id;
}

/* False: not a line of dpkg's log. */
static bool parse_line(struct program *p, struct record *r, const char *line) {
  char *words[6] = {empty, empty, empty, empty, empty, empty};
  char *rest = NULL;
  record_init(r);
  if (!parse_time(line, &r->time))
    return false;
  make_id(p, line, r->id);
  snprintf(r->line, sizeof(r->line), "%s", line);
  int count = 0;
  for (char *word = strtok_r(r->line, " \n", &rest); word && count < 6;
       word = strtok_r(NULL, " \n", &rest))
    words[count++] = word;
  if (count < 4)
    return false;
  fill(p, r, words);
  return true;
}

/* ---- streaming ---- */

static void print_violation(void *arg, const char *field, const char *description) {
  fprintf(stderr, "batch %s: %s: %s\n", (const char *)arg, field, description);
}

static void take_receipts(struct program *p, const Auditstore__V1__StreamEventsResponse *answer) {
  for (size_t i = 0; i < answer->n_receipts; i++) {
    const Auditstore__V1__Receipt *receipt = answer->receipts[i];
    printf("batch %3s: %3" PRIu32 " events %s ledger %" PRId64 " at %" PRId64 "..%" PRId64 "\n",
           answer->batch_id, receipt->count, receipt->duplicate ? "already in" : "stored in",
           receipt->ledger_id, receipt->first_sequence,
           receipt->first_sequence + receipt->count - 1);
    *(receipt->duplicate ? &p->duplicates : &p->stored) += receipt->count;
  }
  for (size_t i = 0; i < answer->n_rejected; i++)
    auditstore_rpc_status_violations(answer->rejected[i]->status, print_violation,
                                     answer->batch_id);
  p->refused += answer->n_rejected;
}

/* False: the stream has ended. */
static bool take_answer(struct program *p) {
  Auditstore__V1__StreamEventsResponse *answer = NULL;
  if (auditstore_v1_audit_store_stream_events_recv(p->stream, &answer, -1) != AUDITSTORE_STREAM_OK)
    return false;
  p->answered++;
  bool is_stored = !answer->status || answer->status->code == AUDITSTORE_OK;
  if (is_stored)
    take_receipts(p, answer);
  else
    fprintf(stderr, "batch %s: %s\n", answer->batch_id, answer->status->message);
  auditstore__v1__stream_events_response__free_unpacked(answer, NULL);
  return is_stored;
}

static bool send_batch(struct program *p) {
  Auditstore__V1__AuditEvent *events[BATCH_EVENTS];
  Auditstore__V1__StreamEventsRequest request = AUDITSTORE__V1__STREAM_EVENTS_REQUEST__INIT;
  char batch_id[16];
  snprintf(batch_id, sizeof(batch_id), "%d", ++p->sent);
  for (size_t i = 0; i < p->count; i++)
    events[i] = &p->records[i].event;
  request.batch_id = batch_id;
  request.events = events;
  request.n_events = p->count;
  /* The good events of a batch are stored even if one is refused. */
  request.mode = AUDITSTORE__V1__WRITE_MODE__WRITE_MODE_PARTIAL;
  p->count = 0;
  if (auditstore_v1_audit_store_stream_events_send(p->stream, &request, -1) != AUDITSTORE_STREAM_OK)
    return false;
  while (p->sent - p->answered >= WINDOW)
    if (!take_answer(p))
      return false;
  return true;
}

static bool take_line(struct program *p, const char *line) {
  if (parse_line(p, &p->records[p->count], line))
    p->count++;
  return p->count < BATCH_EVENTS || send_batch(p);
}

static bool take_file(struct program *p, FILE *log) {
  char line[1024];
  while (fgets(line, sizeof(line), log))
    if (!take_line(p, line))
      return false;
  return true;
}

/* Yesterday's, from midnight on: the same lines whenever it runs on one day. */
static bool take_generated(struct program *p, long count) {
  time_t now = time(NULL) - 86400;
  struct tm tm;
  localtime_r(&now, &tm);
  tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
  for (long i = 0; i < count; i++) {
    char line[128];
    char stamp[32];
    time_t at = mktime(&tm) + i;
    struct tm when;
    strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", localtime_r(&at, &when));
    snprintf(line, sizeof(line), "%s install sample-%ld:amd64 <none> 1.%ld-1", stamp, i, i % 10);
    if (!take_line(p, line))
      return false;
  }
  return true;
}

/* Sends the rest, waits for all answers and ends the stream. */
static int finish(struct program *p, bool ok) {
  ok = ok && (p->count == 0 || send_batch(p));
  while (ok && p->answered < p->sent)
    ok = take_answer(p);
  struct auditstore_status status = {0};
  enum auditstore_code code = auditstore_v1_audit_store_stream_events_finish(p->stream, &status);
  if (code != AUDITSTORE_OK)
    fprintf(stderr, "dpkg_audit: the stream ended: %s: %s\n", auditstore_code_name(code),
            status.message ? status.message : "");
  auditstore_status_deinit(&status);
  printf("acknowledged %" PRIu64 ": stored now %" PRIu64 ", already stored %" PRIu64
         "; refused %" PRIu64 "\n",
         p->stored + p->duplicates, p->stored, p->duplicates, p->refused);
  return ok && code == AUDITSTORE_OK && p->refused == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct program *p, const char *path, long generate) {
  FILE *log = fopen(path, "r");
  int first = log ? fgetc(log) : EOF;
  bool ok = false;
  if (first != EOF) {
    ungetc(first, log);
    ok = take_file(p, log);
  } else if (generate > 0) {
    printf("%s is missing or empty: sending %ld generated events\n", path, generate);
    ok = take_generated(p, generate);
  } else {
    fprintf(stderr, "dpkg_audit: %s is missing or empty; --generate N makes events\n", path);
  }
  if (log)
    fclose(log);
  return finish(p, ok);
}

int main(int argc, char **argv) {
  static const struct option options[] = {{"server", required_argument, NULL, 's'},
                                          {"generate", required_argument, NULL, 'g'},
                                          {NULL, 0, NULL, 0}};
  static struct program p;
  const char *server = "127.0.0.1:7443";
  long generate = 0;
  int option = 0;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (option == '?')
      return 2;
    if (option == 's')
      server = optarg;
    else
      generate = strtol(optarg, NULL, 10);
  }
  gethostname(p.host, sizeof(p.host) - 1);
  setvbuf(stdout, NULL, _IOLBF, 0); /* acknowledgements show as they come, in a pipe too */
  const struct auditstore_call_options call = {.timeout_ms = TIMEOUT_MS};
  struct auditstore_status status = {0};
  int code = EXIT_FAILURE;
  p.channel = auditstore_channel_new(server, NULL, NULL);
  if (p.channel)
    p.stream = auditstore_v1_audit_store_stream_events_open(p.channel, &call, &status);
  if (p.stream)
    code = run(&p, optind < argc ? argv[optind] : "/var/log/dpkg.log", generate);
  else
    fprintf(stderr, "dpkg_audit: %s: %s\n", server,
            status.message ? status.message : "bad address");
  auditstore_status_deinit(&status);
  auditstore_channel_free(p.channel);
  tdestroy(p.seen, free);
  for (size_t i = 0; i < BATCH_EVENTS; i++)
    free(p.records[i].data);
  return code;
}
