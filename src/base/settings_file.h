/*
 * settings_file: a YAML file of settings, read strictly: one document, each problem with its line.
 * What the keys mean is the caller's business.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdio.h>
#include <yaml.h>

struct settings_file {
  FILE *problems;   /* borrowed */
  const char *path; /* borrowed; what the file is called */
  int count;        /* of problems */
};

/* Writes "PATH:LINE: TEXT", or "PATH: TEXT" for line 0, as one line whatever it quotes. */
void settings_file_problem(struct settings_file *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* " (did you mean NAME?)" written to `text`, or nothing when there is no name. Returns `text`. */
const char *settings_file_suggestion(const char *name, char *text, size_t size);

/* Runs `cb` with the document and its root, unless the file is empty. What isn't YAML is a problem.
 */
typedef void settings_file_cb(void *arg, yaml_document_t *document, const yaml_node_t *root);
void settings_file_read(struct settings_file *file, FILE *in, settings_file_cb *cb, void *arg);

/* Counted from 1. */
int settings_file_line(const yaml_node_t *node);

/* Of a scalar. */
struct str settings_file_text(const yaml_node_t *node);

/* `key:` with nothing behind it, and YAML's other words for that: as if the key were absent. */
bool settings_file_is_absent(const yaml_node_t *value);

/* The key of an earlier pair of the mapping with the same text, or NULL. YAML forbids that, libyaml
 * doesn't. */
const yaml_node_t *settings_file_earlier(yaml_document_t *document, const yaml_node_t *mapping,
                                         const yaml_node_pair_t *pair);
