#include "cli.h"

#include "base/suggest.h"
#include "tool.h"

#include <getopt.h>
#include <string.h>

#define MAX_OPTIONS 64

const struct cli_command *const cli_commands[] = {
    &send_command, &list_command,    &get_command,        &count_command,    &health_command,
    &info_command, &profile_command, &completion_command, &complete_command, &help_command,
    NULL,
};

/* ---- finding ---- */

const struct cli_command *cli_find_command(const char *name) {
  for (size_t i = 0; cli_commands[i]; i++)
    if (strcmp(cli_commands[i]->name, name) == 0)
      return cli_commands[i];
  return NULL;
}

const char *cli_suggest_command(const char *name) {
  struct suggestion near;
  suggestion_init(&near, str_z(name));
  for (size_t i = 0; cli_commands[i]; i++)
    suggestion_consider(&near, cli_commands[i]->name);
  return near.best;
}

/* Runs through the options of the command, which may be NULL, then the global ones. */
struct walk {
  const struct cli_command *command;
  size_t group;
  const struct cli_option *next;
};

static const struct cli_option *group_of(const struct walk *walk) {
  if (walk->group == CLI_OPTION_GROUPS)
    return cli_global_options;
  return walk->command ? walk->command->options[walk->group] : NULL;
}

static const struct cli_option *next_option(struct walk *walk) {
  for (; walk->group <= CLI_OPTION_GROUPS; walk->group++, walk->next = NULL) {
    const struct cli_option *option = walk->next ? walk->next : group_of(walk);
    if (!option || !option->name)
      continue;
    walk->next = option + 1;
    return option;
  }
  return NULL;
}

const struct cli_option *cli_find_option(const struct cli_command *command, const char *name,
                                         size_t len) {
  struct walk walk = {.command = command};
  const struct cli_option *option = NULL;
  while ((option = next_option(&walk)))
    if (strlen(option->name) == len && memcmp(option->name, name, len) == 0)
      return option;
  return NULL;
}

const struct cli_option *cli_option_of(const struct cli_command *command, int id) {
  struct walk walk = {.command = command};
  const struct cli_option *option = NULL;
  while ((option = next_option(&walk)))
    if (option->id == id)
      return option;
  return NULL;
}

void cli_each_word(const char *words, cli_word_cb *cb, void *arg) {
  while (words && *words) {
    size_t len = strcspn(words, " ");
    cb(arg, words, len);
    words += len;
    words += strspn(words, " ");
  }
}

/* ---- parsing ---- */

struct getopt_table {
  struct option options[MAX_OPTIONS + 1];
  const struct cli_option *rows[MAX_OPTIONS];
  int count;
};

/* getopt's number of an option is its place here, behind what a char may be. */
#define GETOPT_FIRST 256

static void fill_table(struct getopt_table *table, const struct cli_command *command) {
  struct walk walk = {.command = command};
  const struct cli_option *option = NULL;
  table->count = 0;
  while (table->count < MAX_OPTIONS && (option = next_option(&walk))) {
    table->options[table->count] = (struct option){
        .name = option->name,
        .has_arg = option->argument ? required_argument : no_argument,
        .val = GETOPT_FIRST + table->count,
    };
    table->rows[table->count++] = option;
  }
  table->options[table->count] = (struct option){0};
}

/* getopt has said what is wrong. */
static int suggest_option(const struct cli_command *command, const char *word) {
  struct walk walk = {.command = command};
  struct suggestion near;
  const struct cli_option *option = NULL;
  if (!word || strncmp(word, "--", 2) != 0)
    return TOOL_USAGE;
  suggestion_init(&near, str_of(word + 2, strcspn(word + 2, "=")));
  while ((option = next_option(&walk)))
    suggestion_consider(&near, option->name);
  if (near.best && near.distance > 0)
    fprintf(stderr, "  Did you mean --%s?\n", near.best);
  return TOOL_USAGE;
}

static int check_arguments(const struct cli_command *command, int count, char **arguments) {
  if (!command)
    return TOOL_OK;
  if (count < command->min_arguments)
    return tool_usage("%s: give %s", command->name, command->arguments);
  if (command->max_arguments >= 0 && count > command->max_arguments)
    return tool_usage("%s: unexpected argument %s", command->name,
                      arguments[command->max_arguments]);
  return TOOL_OK;
}

/* NULL: getopt found none. */
static const struct cli_option *option_of(const struct getopt_table *table, int number) {
  if (number == 'h')
    return cli_find_option(NULL, "help", strlen("help"));
  return number >= GETOPT_FIRST ? table->rows[number - GETOPT_FIRST] : NULL;
}

static int take(const struct cli_parser *parser, const struct cli_option *option) {
  if (option->id >= CLI_GLOBAL)
    return parser->take_global(parser->global_arg, option, optarg);
  return parser->take(parser->arg, option, optarg);
}

int cli_parse(const struct cli_parser *parser, int argc, char **argv, int *ret_first) {
  const struct cli_command *command = parser->command;
  struct getopt_table table;
  char title[64];
  int code = TOOL_OK;
  int number = 0;
  fill_table(&table, command);
  snprintf(title, sizeof(title), "auditstore%s%s", command ? ": " : "",
           command ? command->name : "");
  char *name = argv[0];
  argv[0] = title; /* what getopt's complaints begin with */
  optind = 0;      /* getopt starts afresh */
  /* '+': options behind the first other word belong to the command. */
  while (code == TOOL_OK &&
         (number = getopt_long(argc, argv, command ? "h" : "+h", table.options, NULL)) != -1) {
    const struct cli_option *option = option_of(&table, number);
    code = option ? take(parser, option) : suggest_option(command, argv[optind - 1]);
  }
  argv[0] = name;
  *ret_first = optind;
  return code == TOOL_OK ? check_arguments(command, argc - optind, argv + optind) : code;
}

/* ---- refusing ---- */

struct word_list {
  char text[256];
  int left;
  int given;
};

static void count_word(void *arg, const char *word, size_t len) {
  (void)word;
  (void)len;
  ((struct word_list *)arg)->left++;
}

/* "A, B or C" */
static void add_word(void *arg, const char *word, size_t len) {
  struct word_list *list = arg;
  size_t used = strlen(list->text);
  const char *separator = --list->left == 0 ? " or " : ", ";
  snprintf(list->text + used, sizeof(list->text) - used, "%s%.*s", list->given++ ? separator : "",
           (int)len, word);
}

int cli_refuse(const struct cli_command *command, const struct cli_option *option,
               const char *value, const char *why) {
  struct word_list list = {.text = "must be "};
  cli_each_word(option->words, count_word, &list);
  cli_each_word(option->words, add_word, &list);
  return tool_usage("%s%s--%s %s: %s", command ? command->name : "", command ? ": " : "",
                    option->name, value, why ? why : list.text);
}
