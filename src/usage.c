#include "usage.h"

#include "base/roff.h"
#include "config/config.h"

#include <string.h>

#define SUMMARY "stores audit events in PostgreSQL and serves them over gRPC"

static const struct {
  const char *name; /* NULL: none, the daemon runs */
  const char *argument;
  const char *help;
} commands[] = {
    {NULL, "[OPTIONS]", "run until SIGTERM or SIGINT"},
    {"migrate", "[OPTIONS]", "bring the database's schema up to date"},
    {"restored", "[OPTIONS]", "after a restore from a backup: close its ledgers, begin an epoch"},
    {"keygen", "FILE", "make a key that signs checkpoints, print its public key"},
    {"token", "NAME", "make a bearer token, print it and its line for access.token_file"},
    {"dev-certs", "DIR [NAME...]",
     "make an authority, a server's and a client's certificate for tests"},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static const struct {
  const char *name;
  const char *argument; /* NULL: none */
  const char *help;
  enum usage_id id;
} rows[] = {
    {"config", "FILE", "settings (YAML); without it the defaults hold", OPTION_CONFIG},
    {"set", "SECTION.KEY=VALUE", "overrides one setting; may be repeated", OPTION_SET},
    {"check-config", NULL,
     "check the settings and the files that they name, and exit: 0 good, 2 bad", OPTION_CHECK},
    {"print-config", NULL, "print every effective setting and where it comes from", OPTION_PRINT},
    {"print-config-example", NULL, "print a commented file of all defaults", OPTION_EXAMPLE},
    {"print-config-reference", NULL, "print the reference of all settings (Markdown)",
     OPTION_REFERENCE},
    {"print-roles-reference", NULL, "print which role admits to which method (Markdown)",
     OPTION_ROLES},
    {"print-metrics-reference", NULL, "print the reference of all metrics (Markdown)",
     OPTION_METRICS},
    {"print-manual", "8|5", "print the manual page of the daemon, or of its settings (troff)",
     OPTION_MANUAL},
    {"version", NULL, "print the version", OPTION_VERSION},
    {"help", NULL, "print this", OPTION_HELP},
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))
_Static_assert(ROW_COUNT < USAGE_MAX_OPTIONS, "room for the end");

void usage_options(struct option ret_options[USAGE_MAX_OPTIONS]) {
  for (size_t i = 0; i < ROW_COUNT; i++)
    ret_options[i] = (struct option){
        .name = rows[i].name,
        .has_arg = rows[i].argument ? required_argument : no_argument,
        .val = (int)rows[i].id,
    };
  ret_options[ROW_COUNT] = (struct option){0};
}

static void join(char *text, size_t size, const char *left, const char *right) {
  snprintf(text, size, "%s%s%s", left ? left : "", left && right ? " " : "", right ? right : "");
}

void usage_print_help(FILE *out) {
  char text[64];
  fputs("auditstored: " SUMMARY "\n\n", out);
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    join(text, sizeof(text), commands[i].name, commands[i].argument);
    fprintf(out, "  auditstored %-23s %s\n", text, commands[i].help);
  }
  fputc('\n', out);
  for (size_t i = 0; i < ROW_COUNT; i++) {
    join(text, sizeof(text), rows[i].name, rows[i].argument);
    fprintf(out, "  --%-29s %s\n", text, rows[i].help);
  }
  fputs("\nExit codes: 0 stopped cleanly, 1 failed, 2 bad usage or settings.\n", out);
}

/* ---- manual pages ---- */

static void put_title(FILE *out, const char *name, const char *section) {
  const struct roff_title title = {name, section, AUDITSTORE_DATE,
                                   "auditstored " AUDITSTORE_VERSION};
  if (*section == '8')
    roff_begin(out, &title, "auditstored", SUMMARY);
  else
    roff_begin(out, &title, "auditstored.yaml", "settings of auditstored");
}

static void put_commands(FILE *out) {
  char text[64];
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    join(text, sizeof(text), "auditstored", commands[i].name);
    roff_item(out);
    roff_words(out, text, commands[i].argument);
    roff_text(out, commands[i].help);
  }
}

static void put_options(FILE *out) {
  char text[64];
  for (size_t i = 0; i < ROW_COUNT; i++) {
    snprintf(text, sizeof(text), "--%s", rows[i].name);
    roff_item(out);
    roff_words(out, text, rows[i].argument);
    roff_text(out, rows[i].help);
  }
}

static void put_daemon(FILE *out) {
  put_title(out, "AUDITSTORED", "8");
  roff_section(out, "SYNOPSIS");
  put_commands(out);
  roff_section(out, "DESCRIPTION");
  roff_paragraphs(
      out,
      "`auditstored` checks each event, writes it to PostgreSQL and acknowledges it when it is on "
      "disk, not before. Every event gets a place in a ledger: a sequence without gaps.\n\n"
      "It stays in the foreground and logs to standard error. Settings are read from the file that "
      "--config names; auditstored.yaml(5) lists them.");
  roff_section(out, "OPTIONS");
  put_options(out);
  roff_section(out, "SIGNALS");
  roff_item(out);
  roff_words(out, "SIGTERM, SIGINT", NULL);
  roff_text(
      out,
      "End: no new calls are taken, those under way are finished. A second one ends it "
      "at once, as does the first during the start. What was acknowledged is on disk in any case.");
  roff_item(out);
  roff_words(out, "SIGHUP", NULL);
  roff_text(out,
            "Read the settings and the files of certificates and keys again. Bad settings "
            "change nothing, and the log says why. During the start it waits until it can be "
            "obeyed.");
  roff_item(out);
  roff_words(out, "SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE and other signals that would only kill",
             NULL);
  roff_text(out, "Nothing, from the first moment on.");
  roff_section(out, "EXIT STATUS");
  roff_paragraphs(out,
                  "0 stopped cleanly; 1 couldn't start, or was cut short; 2 wrong usage or "
                  "settings.");
  roff_section(out, "SEE ALSO");
  roff_paragraphs(out, "`auditstored.yaml`(5), `auditstore`(1)");
}

static void put_settings(FILE *out) {
  put_title(out, "AUDITSTORED.YAML", "5");
  config_print_manual(out);
  roff_section(out, "SEE ALSO");
  roff_paragraphs(out, "`auditstored`(8)");
}

int usage_print_manual(FILE *out, const char *section) {
  if (strcmp(section, "8") == 0)
    put_daemon(out);
  else if (strcmp(section, "5") == 0)
    put_settings(out);
  else
    return -1;
  return 0;
}
