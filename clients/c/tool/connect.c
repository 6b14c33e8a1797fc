/*
 * From the settings to a channel: the files they name are looked at first, so that what is wrong
 * with them is told as such and not as a failed call.
 */
#include "text.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int put_bad_file(const struct tool *tool, enum setting_id id, const char *why) {
  const struct setting_value *value = &tool->settings.values[id];
  char origin[SETTINGS_ORIGIN_SIZE];
  settings_origin(&tool->settings, value, origin);
  return tool_bad_setting("%s (%s, %s): %s", value->text, setting_rows[id].key, origin, why);
}

/* As ssh has it: files of one's own that others may read or change are refused. Those of root are
 * root's to guard, such as secrets that a container gets. */
static int check_private(const struct tool *tool, enum setting_id id, const struct stat *info) {
  char why[512];
  if (info->st_uid != getuid() && info->st_uid != 0)
    return put_bad_file(tool, id, "another user owns it: chown it to yourself or to root");
  if (info->st_uid != getuid() || (info->st_mode & 077) == 0)
    return TOOL_OK;
  snprintf(why, sizeof(why),
           "its permissions are %04o: others may use it. chmod 600 %s makes it yours alone",
           (unsigned)(info->st_mode & 07777), tool->settings.values[id].text);
  return put_bad_file(tool, id, why);
}

static int check_file(const struct tool *tool, enum setting_id id, bool is_private) {
  const char *path = tool->settings.values[id].text;
  struct stat info;
  if (!path)
    return TOOL_OK;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return put_bad_file(tool, id, strerror(errno));
  int failed = fstat(fd, &info);
  close(fd);
  if (failed)
    return put_bad_file(tool, id, strerror(errno));
  if (S_ISDIR(info.st_mode))
    return put_bad_file(tool, id, strerror(EISDIR));
  return is_private ? check_private(tool, id, &info) : TOOL_OK;
}

static int check_files(const struct tool *tool) {
  int code = check_file(tool, SETTING_TOKEN, true);
  if (!tool->settings.uses_tls)
    return code;
  if (code == TOOL_OK)
    code = check_file(tool, SETTING_CA, false);
  if (code == TOOL_OK)
    code = check_file(tool, SETTING_CERT, false);
  return code == TOOL_OK ? check_file(tool, SETTING_KEY, true) : code;
}

static int put_refusal(const struct tool *tool, const struct auditstore_status *status) {
  const struct setting_value *server = &tool->settings.values[SETTING_SERVER];
  char origin[SETTINGS_ORIGIN_SIZE];
  settings_origin(&tool->settings, server, origin);
  fprintf(stderr, "auditstore: can't use server %s (%s): ", server->text, origin);
  text_print_escaped(stderr,
                     status->message ? status->message : auditstore_code_name(status->code));
  fputs("\n  `auditstore profile show` tells where each setting comes from.\n", stderr);
  return TOOL_USAGE;
}

static void open_channel(struct tool *tool, struct auditstore_status *status) {
  const struct setting_value *values = tool->settings.values;
  const struct auditstore_tls_options tls = {
      .ca_file = values[SETTING_CA].text,
      .cert_file = values[SETTING_CERT].text,
      .key_file = values[SETTING_KEY].text,
      .server_name = values[SETTING_SERVER_NAME].text,
  };
  const struct auditstore_channel_options options = {
      .connect_timeout_ms = tool->timeout_ms,
      .default_timeout_ms = tool->timeout_ms,
      .max_message_bytes = (size_t)256 * 1024 * 1024, /* a page of events at their largest */
      .user_agent = "auditstore-tool/" AUDITSTORE_VERSION,
      .tls = tool->settings.uses_tls ? &tls : NULL,
      .token_file = values[SETTING_TOKEN].text,
  };
  tool->channel = auditstore_channel_new(tool->server, &options, status);
}

int tool_connect(struct tool *tool) {
  struct auditstore_status status = {0};
  int code = settings_resolve(&tool->settings);
  if (code != TOOL_OK)
    return code;
  tool->server = tool->settings.values[SETTING_SERVER].text;
  tool->timeout_ms = tool->settings.timeout_ms;
  code = check_files(tool);
  if (code != TOOL_OK)
    return code;
  open_channel(tool, &status);
  if (!tool->channel)
    code = put_refusal(tool, &status);
  auditstore_status_deinit(&status);
  return code;
}
