/* Numbers as JSON, in the shortest form that reads back as the same number, as orjson writes them. In a header, so that
   the compiler can put them where they are used: it makes a call of five fields a twentieth faster.

   Each function writes at *to*, which has room for LONGEST_NUMBER bytes, and returns the end; NULL for a number that is
   for Python to write. */

#ifndef METAEXPERT_NUMBERS_H
#define METAEXPERT_NUMBERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* A sign and 19 digits, or a fraction of 15 digits with zeros and a point. */
#define LONGEST_NUMBER 24
/* Doubles with at most so many digits have exactly one such decimal form (DBL_DIG). */
#define EXACT_DIGITS 1e15
#define MOST_DECIMALS 12

static inline char *
put_digits(char *to, unsigned long long value)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count)
        *to++ = digits[--count];
    return to;
}

static inline char *
put_integer(char *to, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow)
        return NULL;
    if (number < 0)
        *to++ = '-';
    return put_digits(to, number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number);
}

static char *
put_decimals(char *to, unsigned long long rest, int count)
{
    *to++ = '.';
    for (int place = count - 1; place >= 0; place--) {
        to[place] = (char)('0' + rest % 10);
        rest /= 10;
    }
    return to + count;
}

/* Takes decimal fractions of at most 15 digits, as nearly every price and size is. Such a fraction is the shortest
   form of its double, because no two of them mean the same double. Anything else is for orjson. */
static inline char *
put_fraction(char *to, double value)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
    if (FLT_EVAL_METHOD != 0) /* the divisions below must round to a double */
        return NULL;
    double size = value < 0 ? -value : value;
    if (value == 0 && !signbit(value)) {
        memcpy(to, "0.0", 3);
        return to + 3;
    }
    if (!(size >= 1e-4 && size < EXACT_DIGITS)) /* also NaN */
        return NULL;
    for (int decimals = 0; decimals <= MOST_DECIMALS; decimals++) {
        double scaled = size * powers[decimals];
        if (scaled >= EXACT_DIGITS)
            return NULL;
        unsigned long long whole = (unsigned long long)(scaled + 0.5), unit = (unsigned long long)powers[decimals];
        if ((double)whole / powers[decimals] != size)
            continue;
        if (value < 0)
            *to++ = '-';
        to = put_digits(to, whole / unit);
        return put_decimals(to, whole % unit, decimals ? decimals : 1);
    }
    return NULL;
}

#endif
