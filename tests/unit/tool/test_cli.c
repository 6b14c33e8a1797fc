/* The table of commands is whole, and completion follows it. */
#include "filter.h"
#include "json_message.h"
#include "tool.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the table ---- */

static void check_option(const struct cli_command *command, const struct cli_option *option) {
  size_t len = strlen(option->help);
  const char *title = command ? command->name : "global";
  if (cli_find_option(command, option->name, strlen(option->name)) != option ||
      cli_option_of(command, option->id) != option)
    fail_msg("%s: --%s: its name or number is given twice", title, option->name);
  if (!len || option->help[len - 1] == '.' || isupper((unsigned char)option->help[0]))
    fail_msg("%s: --%s: help is one phrase", title, option->name);
  if ((option->words || option->completes) && !option->argument)
    fail_msg("%s: --%s completes an argument that it doesn't take", title, option->name);
  if (!option->words != (option->completes != CLI_WORDS))
    fail_msg("%s: --%s: words and CLI_WORDS go together", title, option->name);
  if ((option->id >= CLI_GLOBAL) != !command)
    fail_msg("%s: --%s: its number is of the other kind", title, option->name);
}

static void each_row_is_whole_and_unique(void **state) {
  (void)state;
  int commands = 0;
  for (; cli_commands[commands]; commands++) {
    const struct cli_command *command = cli_commands[commands];
    assert_ptr_equal(cli_find_command(command->name), command);
    assert_non_null(command->summary);
    assert_non_null(command->details);
    assert_non_null(command->run);
    assert_int_equal(command->words != NULL, command->completes == CLI_WORDS);
    assert_int_equal(command->arguments != NULL, command->max_arguments != 0);
    for (int i = 0; i < CLI_OPTION_GROUPS; i++)
      for (const struct cli_option *o = command->options[i]; o && o->name; o++)
        check_option(command, o);
  }
  assert_true(commands > 5);
  for (const struct cli_option *o = cli_global_options; o->name; o++)
    check_option(NULL, o);
}

static void each_setting_has_its_option(void **state) {
  (void)state;
  for (int id = 0; id < SETTING_COUNT; id++) {
    const struct cli_option *option = cli_option_of(NULL, CLI_GLOBAL + id);
    assert_non_null(option);
    assert_non_null(option->variable);
    assert_non_null(setting_rows[id].key);
    assert_non_null(setting_rows[id].help);
    if (setting_rows[id].default_text)
      assert_null(setting_check((enum setting_id)id, setting_rows[id].default_text));
  }
}

/* The words that the API has are those that the option offers. */
static void check_words(int id, const ProtobufCEnumDescriptor *type) {
  char words[512] = "";
  for (unsigned i = 0; i < type->n_values; i++) {
    const char *name = json_enum_short_name(type, type->values[i].value);
    size_t used = strlen(words);
    if (strcmp(name, "UNSPECIFIED") != 0)
      snprintf(words + used, sizeof(words) - used, "%s%s", used ? " " : "", name);
  }
  assert_string_equal(cli_option_of(&list_command, id)->words, words);
}

static void words_are_those_of_the_api(void **state) {
  (void)state;
  check_words(FILTER_OUTCOME, &auditstore__v1__outcome__descriptor);
  check_words(FILTER_SEVERITY, &auditstore__v1__severity__descriptor);
}

/* ---- completion ---- */

static char *complete(int count, char **words) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  cli_complete(out, count, words);
  fclose(out);
  return text;
}

/* Drops the explanations. */
static void cut_explanations(char *text) {
  char *to = text;
  for (const char *from = text; *from;) {
    size_t len = strcspn(from, "\t\n");
    const char *next = from + len + strcspn(from + len, "\n");
    next += *next == '\n';
    memmove(to, from, len);
    to += len;
    *to++ = ' ';
    from = next;
  }
  *to = '\0';
}

#define WORDS_MAX 8

/* `line` is what is typed, words apart by one blank; its last word is completed. */
static void expect_offers(const char *line, const char *expected) {
  char copy[256];
  char *words[WORDS_MAX];
  int count = 0;
  snprintf(copy, sizeof(copy), "%s", line);
  for (char *rest = copy; rest && count < WORDS_MAX;)
    words[count++] = strsep(&rest, " ");
  char *offers = complete(count, words);
  cut_explanations(offers);
  if (strcmp(offers, expected) != 0)
    fail_msg("%s\nexpected: %s\ngot:      %s", line, expected, offers);
  free(offers);
}

static void what_comes_next_is_offered(void **state) {
  (void)state;
  static const struct {
    const char *line;
    const char *expected;
  } cases[] = {
      {"co", "count completion complete "},
      {"--serv", "--server --server-name "},
      {"--server x:1 l", "list "},
      {"--json l", "list "},
      {"--server=x:1 l", "list "},
      {"--timeout ", ""},
      {"--token-file ", ":files "},
      {"--token-file=/e", ":files "},
      {"list --out", "--outcome "},
      {"list --o", "--outcome --oldest-first "},
      {"list --outcome ", "SUCCESS FAILURE PENDING UNKNOWN "},
      {"list --outcome f", "FAILURE "},
      {"list --outcome=F", "--outcome=FAILURE "},
      {"list --severity E", "ERROR EMERGENCY "},
      {"list --outcome FAILURE --outcome P", "PENDING "},
      {"list -- --out", ""},
      {"list ", ""},
      {"health --out", ""},
      {"health --tl", "--tls "},
      {"count --by ", "action type category outcome principal "},
      {"send ", ":files "},
      {"send x.jsonl ", ""},
      {"send --batch ", ""},
      {"send --batch 5 ", ":files "},
      {"profile ", "list show "},
      {"profile list --n", "--names "},
      {"completion ", "bash zsh fish "},
      {"help pr", "profile "},
      {"nonsense ", "send list get count health info profile completion complete help "},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    expect_offers(cases[i].line, cases[i].expected);
}

static void a_lone_dash_offers_every_option(void **state) {
  (void)state;
  char dash[] = "-";
  char *words[] = {dash};
  char *offers = complete(1, words);
  assert_non_null(strstr(offers, "--server\t"));
  assert_non_null(strstr(offers, "--version\t"));
  free(offers);
}

static void no_words_at_all_offer_commands(void **state) {
  (void)state;
  char *offers = complete(0, NULL);
  assert_non_null(strstr(offers, "send\t"));
  free(offers);
}

/* ---- which servers are of this machine ---- */

static void servers_of_this_machine_are_known_by_their_text(void **state) {
  (void)state;
  static const char *const local[] = {"127.0.0.1:7443",     "127.1.2.3:1", "localhost:7443",
                                      "LOCALHOST:7443",     "[::1]:7443",  "unix:/run/auditstore",
                                      "127.0.0.1:1,[::1]:2"};
  static const char *const remote[] = {"audit.example.com:7443",
                                       "127.0.0.1.example.com:7443",
                                       "127.example.com:1",
                                       "localhost.example.com:7443",
                                       "10.0.0.1:7443",
                                       "[::2]:7443",
                                       "127.0.0.1:1,10.0.0.1:7443",
                                       "10.0.0.1:7443,127.0.0.1:1",
                                       "",
                                       ","};
  for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
    if (!settings_is_local(local[i]))
      fail_msg("%s is of this machine", local[i]);
  for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
    if (settings_is_local(remote[i]))
      fail_msg("%s isn't of this machine", remote[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_row_is_whole_and_unique),
      cmocka_unit_test(each_setting_has_its_option),
      cmocka_unit_test(words_are_those_of_the_api),
      cmocka_unit_test(what_comes_next_is_offered),
      cmocka_unit_test(a_lone_dash_offers_every_option),
      cmocka_unit_test(no_words_at_all_offer_commands),
      cmocka_unit_test(servers_of_this_machine_are_known_by_their_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
