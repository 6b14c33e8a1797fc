/*
 * export: marks what a shared library offers to others when it is built with hidden visibility.
 */
#ifndef AUDITSTORE_EXPORT_H
#define AUDITSTORE_EXPORT_H

#if defined(__GNUC__)
#define AUDITSTORE_API __attribute__((visibility("default")))
#else
#define AUDITSTORE_API
#endif

#endif
