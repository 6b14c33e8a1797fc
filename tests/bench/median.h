/*
 * median: what is made of the rounds of a figure.
 */
#pragma once

/* Sorts them. */
double median(double *values, int count);
