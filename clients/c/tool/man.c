/*
 * auditstore(1), from the table of commands and that of settings.
 */
#include "base/roff.h"
#include "tool.h"

#include <ctype.h>
#include <string.h>

/* "help" as a sentence: it begins with a small letter and has no full stop. */
static void put_sentence(FILE *out, const char *help) {
  char text[512];
  snprintf(text, sizeof(text), "%c%s.", toupper((unsigned char)help[0]), help + 1);
  roff_text(out, text);
}

static void put_option(FILE *out, const struct cli_option *option) {
  char text[320];
  snprintf(text, sizeof(text), "--%s", option->name);
  roff_item(out);
  roff_words(out, text, option->argument);
  put_sentence(out, option->help);
  if (option->details)
    roff_text(out, option->details);
  snprintf(text, sizeof(text), "One of: %s.", option->words ? option->words : "");
  if (option->words)
    roff_text(out, text);
  snprintf(text, sizeof(text), "In the environment: `%s`.",
           option->variable ? option->variable : "");
  if (option->variable)
    roff_text(out, text);
}

static void put_options(FILE *out, const struct cli_option *options) {
  for (; options && options->name; options++)
    put_option(out, options);
}

static void put_command(FILE *out, const struct cli_command *command) {
  char heading[128];
  char usage[128];
  snprintf(heading, sizeof(heading), "auditstore %s", command->name);
  snprintf(usage, sizeof(usage), "%s%s%s", command->options[0] ? "[OPTION...]" : "",
           command->options[0] && command->arguments ? " " : "",
           command->arguments ? command->arguments : "");
  roff_subsection(out, command->name);
  roff_words(out, heading, *usage ? usage : NULL);
  roff_break(out);
  roff_paragraphs(out, command->details);
  for (size_t i = 0; i < CLI_OPTION_GROUPS; i++)
    put_options(out, command->options[i]);
}

static void put_settings_file(FILE *out) {
  roff_section(out, "SETTINGS FILE");
  roff_paragraphs(
      out,
      "Named sets of settings stand in `$XDG_CONFIG_HOME/auditstore/config.yaml`, which is "
      "`~/.config/auditstore/config.yaml` without that variable, or in the file that --config or "
      "AUDITSTORE_CONFIG names:\n\n"
      "    default_profile: dev\n"
      "    profiles:\n"
      "      dev:\n"
      "        server: 127.0.0.1:7443\n"
      "      prod:\n"
      "        server: audit1.example.com:7443,audit2.example.com:7443\n"
      "        ca_file: ~/.config/auditstore/prod-ca.pem\n"
      "        token_file: prod.token\n"
      "        timeout: 30s\n\n"
      "Paths begin at the file's own folder, or with ~/ at the home folder. Unknown keys, keys set "
      "twice and values of a wrong kind are errors; all of them are told at once, with their "
      "lines. `default_profile` is optional. A profile may have these keys, all of them "
      "optional:");
  for (int id = 0; id < SETTING_COUNT; id++) {
    roff_item(out);
    roff_words(out, setting_rows[id].key, NULL);
    roff_text(out, setting_rows[id].help);
  }
}

void cli_print_manual(FILE *out) {
  const struct roff_title title = {"AUDITSTORE", "1", AUDITSTORE_DATE,
                                   "auditstore " AUDITSTORE_VERSION};
  roff_begin(out, &title, "auditstore", CLI_SUMMARY);
  roff_section(out, "SYNOPSIS");
  roff_words(out, "auditstore", "[OPTION...] COMMAND [ARGUMENT...]");
  roff_section(out, "DESCRIPTION");
  roff_paragraphs(out,
                  "auditstored(8) keeps audit events: who did what to which thing, when, and "
                  "how it ended. `auditstore` is its client for people and scripts.\n\n"
                  "Results go to standard output, everything else to standard error.");
  roff_section(out, "COMMANDS");
  for (size_t i = 0; cli_commands[i]; i++)
    put_command(out, cli_commands[i]);
  roff_section(out, "OPTIONS OF EVERY COMMAND");
  roff_paragraphs(out, "They may stand before the command or behind it.");
  put_options(out, cli_global_options);
  roff_section(out, "WHERE SETTINGS COME FROM");
  roff_paragraphs(out, CLI_PRECEDENCE);
  put_settings_file(out);
  roff_section(out, "EXIT STATUS");
  roff_paragraphs(out, CLI_EXIT_CODES);
  roff_section(out, "EXAMPLES");
  roff_paragraphs(out,
                  "    auditstore send events.jsonl\n"
                  "    auditstore list --since 24h --actor alice@example.com\n"
                  "    auditstore count --by outcome --profile prod\n"
                  "    auditstore --server audit.example.com:7443 --token-file ci.token health");
  roff_section(out, "SEE ALSO");
  roff_paragraphs(out, "`auditstored`(8), `auditstored.yaml`(5)");
}
