#include "base/timestamp.h"

#include <stdio.h>
#include <string.h>

#define DAY_US 86400000000LL

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar. Years are counted from
 * March, so that the leap day is the last of its year; an era is 400 years. */
static int64_t days_from_civil(int64_t year, int month, int day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t year_of_era = year - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

struct civil {
  int year, month, day;
};

static struct civil civil_from_days(int64_t days) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  int64_t day_of_era = days - era * 146097;
  int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t shifted = (5 * day_of_year + 2) / 153;
  int month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
  return (struct civil){
      .year = (int)(year_of_era + era * 400 + (month <= 2)),
      .month = month,
      .day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1),
  };
}

/* Towards the past also before 1970. */
static int64_t floor_days(int64_t us) {
  return us / DAY_US - (us % DAY_US < 0);
}

void timestamp_format(int64_t us, char ret_text[TIMESTAMP_TEXT_SIZE]) {
  int64_t days = floor_days(us);
  struct civil date = civil_from_days(days);
  int64_t rest = us - days * DAY_US;
  int seconds = (int)(rest / 1000000);
  /* The masks tell the compiler the ranges that the calendar guarantees. */
  snprintf(ret_text, TIMESTAMP_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
           (unsigned)date.year % 10000u, (unsigned)date.month % 100u, (unsigned)date.day % 100u,
           (unsigned)(seconds / 3600) % 100u, (unsigned)(seconds / 60 % 60),
           (unsigned)(seconds % 60), (unsigned)(rest % 1000000));
}

/* Reads exactly `count` digits. */
static bool take_digits(struct str *text, int count, int *ret_value) {
  int value = 0;
  if (text->len < (size_t)count)
    return false;
  for (int i = 0; i < count; i++) {
    char c = text->data[i];
    if (c < '0' || c > '9')
      return false;
    value = value * 10 + (c - '0');
  }
  *text = str_of(text->data + count, text->len - (size_t)count);
  *ret_value = value;
  return true;
}

static bool take_char(struct str *text, const char *any_of) {
  if (text->len == 0 || !strchr(any_of, text->data[0]) || text->data[0] == '\0')
    return false;
  *text = str_of(text->data + 1, text->len - 1);
  return true;
}

static int days_in_month(int year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[month - 1] + (month == 2 && leap);
}

static bool take_date(struct str *text, int64_t *ret_days) {
  int year = 0;
  int month = 0;
  int day = 0;
  if (!take_digits(text, 4, &year) || !take_char(text, "-") || !take_digits(text, 2, &month) ||
      !take_char(text, "-") || !take_digits(text, 2, &day))
    return false;
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
    return false;
  *ret_days = days_from_civil(year, month, day);
  return true;
}

static bool take_time(struct str *text, int64_t *ret_us) {
  int hour = 0;
  int minute = 0;
  int second = 0;
  if (!take_digits(text, 2, &hour) || !take_char(text, ":") || !take_digits(text, 2, &minute) ||
      !take_char(text, ":") || !take_digits(text, 2, &second))
    return false;
  if (hour > 23 || minute > 59 || second > 59)
    return false;
  *ret_us = ((hour * 60LL + minute) * 60 + second) * 1000000;
  return true;
}

/* ".123456789": at least one digit, at most nine, the first six count. */
static bool take_fraction(struct str *text, int64_t *ret_us) {
  *ret_us = 0;
  if (!take_char(text, "."))
    return true;
  int64_t unit = 100000;
  int digit = 0;
  int count = 0;
  while (take_digits(text, 1, &digit)) {
    *ret_us += digit * unit;
    unit /= 10;
    if (++count > 9)
      return false;
  }
  return count > 0;
}

static bool take_offset(struct str *text, int64_t *ret_us) {
  *ret_us = 0;
  if (take_char(text, "Zz"))
    return true;
  bool is_west = text->len > 0 && text->data[0] == '-';
  int hours = 0;
  int minutes = 0;
  if (!take_char(text, "+-") || !take_digits(text, 2, &hours) || !take_char(text, ":") ||
      !take_digits(text, 2, &minutes) || hours > 23 || minutes > 59)
    return false;
  int64_t us = (hours * 60LL + minutes) * 60 * 1000000;
  *ret_us = is_west ? -us : us;
  return true;
}

bool timestamp_parse(struct str text, int64_t *ret_us) {
  int64_t days = 0;
  int64_t time_us = 0;
  int64_t fraction_us = 0;
  int64_t offset_us = 0;
  if (!take_date(&text, &days) || !take_char(&text, "Tt ") || !take_time(&text, &time_us) ||
      !take_fraction(&text, &fraction_us) || !take_offset(&text, &offset_us) || text.len != 0)
    return false;
  int64_t us = days * DAY_US + time_us + fraction_us - offset_us;
  if (us < TIMESTAMP_MIN_US || us > TIMESTAMP_MAX_US)
    return false;
  *ret_us = us;
  return true;
}

int timestamp_month(int64_t us) {
  struct civil date = civil_from_days(floor_days(us));
  return date.year * 12 + date.month - 1;
}

int64_t timestamp_month_start_us(int month) {
  return days_from_civil(month / 12, month % 12 + 1, 1) * DAY_US;
}
