/*
 * What may come next on a command line, from the table of commands. The shells' scripts ask here,
 * so that all of them offer the same.
 */
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What the words in front of the last one amount to. */
struct position {
  const struct cli_command *command; /* NULL: none named yet */
  const struct cli_option *option;   /* the last word is its argument */
  int arguments;                     /* of the command */
  bool takes_options;                /* no "--" yet */
  const char *config_path;           /* --config's */
};

static const struct cli_option *find_option(const struct position *position, const char *word) {
  const char *name = word + 2;
  return cli_find_option(position->command, name, strcspn(name, "="));
}

static void note_value(struct position *position, const struct cli_option *option,
                       const char *value) {
  if (option->id == CLI_GLOBAL + SETTINGS_OPTION_CONFIG)
    position->config_path = value;
}

static void read_option(struct position *position, const char *word) {
  const struct cli_option *option = find_option(position, word);
  const char *equal = strchr(word, '=');
  if (!option || !option->argument)
    return;
  if (equal)
    note_value(position, option, equal + 1);
  else
    position->option = option;
}

static void read_word(struct position *position, const char *word) {
  if (position->option) {
    note_value(position, position->option, word);
    position->option = NULL;
  } else if (position->takes_options && strcmp(word, "--") == 0) {
    position->takes_options = false;
  } else if (position->takes_options && strncmp(word, "--", 2) == 0) {
    read_option(position, word);
  } else if (!position->command) {
    position->command = cli_find_command(word);
  } else {
    position->arguments++;
  }
}

/* ---- offering ---- */

struct offer {
  FILE *out;
  const char *prefix; /* goes in front of each: "--outcome=" */
  size_t prefix_len;
  const char *begun; /* what is typed already, behind the prefix */
};

static void put_offer(const struct offer *offer, const char *word, size_t len, const char *help) {
  if (strncasecmp(word, offer->begun, strnlen(offer->begun, len + 1)) != 0)
    return;
  fprintf(offer->out, "%.*s%.*s%s%s\n", (int)offer->prefix_len, offer->prefix, (int)len, word,
          help ? "\t" : "", help ? help : "");
}

static void put_word(void *arg, const char *word, size_t len) {
  put_offer(arg, word, len, NULL);
}

static void put_commands(const struct offer *offer) {
  for (size_t i = 0; cli_commands[i]; i++)
    put_offer(offer, cli_commands[i]->name, strlen(cli_commands[i]->name),
              cli_commands[i]->summary);
}

/* A settings file that is wrong offers nothing: completion is no place for complaints. */
static void put_profiles(const struct offer *offer, const struct position *position) {
  struct settings settings;
  char *problems = NULL;
  size_t size = 0;
  FILE *sink = open_memstream(&problems, &size);
  if (!sink)
    return;
  settings_init(&settings);
  settings.config_path.text = position->config_path;
  settings.config_path.source = position->config_path ? SETTING_FROM_OPTION : SETTING_UNSET;
  if (settings_load_profiles(&settings, sink) == 0)
    for (size_t i = 0; i < settings.profiles.count; i++)
      put_offer(offer, settings.profiles.items[i].name, strlen(settings.profiles.items[i].name),
                settings.profiles.items[i].values[SETTING_SERVER]);
  settings_deinit(&settings);
  fclose(sink);
  free(problems);
}

static void put_values(const struct offer *offer, const struct position *position,
                       enum cli_completes completes, const char *words) {
  switch (completes) {
  case CLI_FILES:
    fputs(":files\n", offer->out);
    return;
  case CLI_WORDS:
    cli_each_word(words, put_word, (void *)offer);
    return;
  case CLI_PROFILES:
    put_profiles(offer, position);
    return;
  case CLI_COMMANDS:
    put_commands(offer);
    return;
  case CLI_NOTHING:
    return;
  }
}

static void put_options(const struct offer *offer, const struct cli_option *options) {
  for (; options && options->name; options++)
    put_offer(offer, options->name, strlen(options->name), options->help);
}

static void put_option_names(FILE *out, const struct position *position, const char *word) {
  const struct offer offer = {
      .out = out, .prefix = "--", .prefix_len = 2, .begun = word[1] == '-' ? word + 2 : ""};
  for (size_t i = 0; position->command && i < CLI_OPTION_GROUPS; i++)
    put_options(&offer, position->command->options[i]);
  put_options(&offer, cli_global_options);
}

/* --outcome=F */
static void put_joined_value(FILE *out, const struct position *position, const char *word) {
  const struct cli_option *option = find_option(position, word);
  size_t len = strcspn(word, "=") + 1;
  const struct offer offer = {.out = out, .prefix = word, .prefix_len = len, .begun = word + len};
  if (option && option->argument)
    put_values(&offer, position, option->completes, option->words);
}

static void put_argument(const struct offer *offer, const struct position *position) {
  const struct cli_command *command = position->command;
  if (!command)
    put_commands(offer);
  else if (position->arguments == 0)
    put_values(offer, position, command->completes, command->words);
}

void cli_complete(FILE *out, int count, char **words) {
  struct position position = {.takes_options = true};
  const char *last = count ? words[count - 1] : "";
  const struct offer offer = {.out = out, .prefix = "", .begun = last};
  for (int i = 0; i + 1 < count; i++)
    read_word(&position, words[i]);
  if (position.option)
    put_values(&offer, &position, position.option->completes, position.option->words);
  else if (position.takes_options && strncmp(last, "--", 2) == 0 && strchr(last, '='))
    put_joined_value(out, &position, last);
  else if (position.takes_options && last[0] == '-' && (last[1] == '-' || !last[1]))
    put_option_names(out, &position, last);
  else
    put_argument(&offer, &position);
}
