/*
 * list: an intrusive, doubly linked list that counts itself, so gauges are free.
 *
 * A link is in one list at a time; a zeroed link is in none. LIST_ENTRY gives the struct around a
 * link. Order of service is the caller's choice: push back and pop front for a queue.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct list_link {
  struct list_link *prev, *next;
};

struct list {
  struct list_link *first, *last;
  size_t count;
};

#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_push_back(struct list *list, struct list_link *link) {
  link->prev = list->last;
  link->next = NULL;
  if (list->last)
    list->last->next = link;
  else
    list->first = link;
  list->last = link;
  list->count++;
}

static inline void list_push_front(struct list *list, struct list_link *link) {
  link->next = list->first;
  link->prev = NULL;
  if (list->first)
    list->first->prev = link;
  else
    list->last = link;
  list->first = link;
  list->count++;
}

/* `place` must be in `list`. */
static inline void list_insert_after(struct list *list, struct list_link *place,
                                     struct list_link *link) {
  link->prev = place;
  link->next = place->next;
  if (place->next)
    place->next->prev = link;
  else
    list->last = link;
  place->next = link;
  list->count++;
}

/* `link` must be in `list`. */
static inline void list_remove(struct list *list, struct list_link *link) {
  assert(list->count > 0);
  if (link->prev)
    link->prev->next = link->next;
  else
    list->first = link->next;
  if (link->next)
    link->next->prev = link->prev;
  else
    list->last = link->prev;
  link->prev = link->next = NULL;
  list->count--;
}

/* The first link, taken out; NULL when empty. */
static inline struct list_link *list_pop_front(struct list *list) {
  struct list_link *link = list->first;
  if (!link)
    return NULL;
  assert(!link->prev);
  list_remove(list, link);
  return link;
}
