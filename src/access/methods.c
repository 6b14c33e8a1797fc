#include "access/methods.h"

#define WRITERS CONFIG_ROLE_WRITER
#define READERS (CONFIG_ROLE_READER | CONFIG_ROLE_AUDITOR)
#define ADMINS  CONFIG_ROLE_ADMIN

/* clang-format off */
static const struct access_method {
  const char *path;
  unsigned roles;
} methods[] = {
    {"/auditstore.v1.AuditStore/WriteEvents",  WRITERS},
    {"/auditstore.v1.AuditStore/StreamEvents", WRITERS},
    {"/auditstore.v1.AuditStore/GetEvent",     READERS},
    {"/auditstore.v1.AuditStore/ListEvents",   READERS},
    {"/auditstore.v1.Admin/GetServerInfo",     ADMINS},
    /* Whoever looks after a service must be able to see that it is there. */
    {"/grpc.health.v1.Health/Check", ACCESS_EVERYBODY},
    {"/grpc.health.v1.Health/List",  ACCESS_EVERYBODY},
    {"/grpc.health.v1.Health/Watch", ACCESS_EVERYBODY},
    /* What it tells is public; server.reflection turns it off. */
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",      ACCESS_EVERYBODY},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", ACCESS_EVERYBODY},
};
/* clang-format on */

#define METHOD_COUNT (sizeof(methods) / sizeof(methods[0]))

unsigned access_method_roles(const char *path) {
  for (size_t i = 0; i < METHOD_COUNT; i++) {
    if (strcmp(methods[i].path, path) == 0)
      return methods[i].roles;
  }
  return 0;
}

static void print_row(const struct access_method *method, FILE *out) {
  fprintf(out, "| `%s` |", method->path);
  for (unsigned i = 0; i < CONFIG_ROLE_COUNT; i++)
    fprintf(out, " %s |", method->roles & (ACCESS_EVERYBODY | 1U << i) ? "yes" : "");
  fprintf(out, " %s |\n", method->roles & ACCESS_EVERYBODY ? "yes" : "");
}

void access_print_reference(FILE *out) {
  fputs(
      "# Roles and methods\n"
      "\n"
      "<!-- Written by auditstored --print-roles-reference; a test compares. -->\n"
      "\n"
      "Which role admits to which method; one is enough. [operations.md](operations.md#access) "
      "says\n"
      "who has which. \"everybody\" needs neither role nor credentials.\n"
      "\n"
      "| method |",
      out);
  for (unsigned i = 0; i < CONFIG_ROLE_COUNT; i++)
    fprintf(out, " %s |", config_role_name((enum config_role_index)i));
  fputs(" everybody |\n|---|", out);
  for (unsigned i = 0; i <= CONFIG_ROLE_COUNT; i++)
    fputs("---|", out);
  fputs("\n", out);
  for (size_t i = 0; i < METHOD_COUNT; i++)
    print_row(&methods[i], out);
}
