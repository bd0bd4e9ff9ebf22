/* The fields of a call as JSON.

   Taken are ASCII texts, integers, decimal fractions, booleans, None, and values that have a short text of their own
   (values.py: TEXTS), under names that Python has judged before. Anything else is for Python, as is each value that
   may hold a secret. Each function writes before *end*, and returns the end of what it wrote, or NULL, perhaps with an
   error, for what is for Python to write. */

#include "core.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* The longest number: a sign and 19 digits, or a fraction of 15 digits with zeros and a point. */
#define LONGEST_NUMBER 24
/* Doubles with at most so many digits have exactly one such decimal form (DBL_DIG). */
#define EXACT_DIGITS 1e15
#define MOST_DECIMALS 12

static char *
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
static char *
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

static inline int
is_marked(const unsigned char *screen, uint32_t packed)
{
    uint32_t bit = (uint32_t)(packed * UINT32_C(2654435761)) >> 15; /* Knuth's multiplicative hash */
    return screen[SCREEN_BITS + (bit >> 3)] >> (bit & 7) & 1;
}

/* Returns whether three or four characters in a row are such that only Python can say if the text holds a secret. */
static int
may_be_secret(const unsigned char *text, Py_ssize_t length, const unsigned char *screen)
{
    for (Py_ssize_t i = 0; i + 2 < length; i++) {
        uint32_t three = (uint32_t)text[i] << 16 | (uint32_t)text[i + 1] << 8 | text[i + 2];
        if (is_marked(screen, three) || (text[i] == '-' && text[i + 1] == '-'))
            return 1;
        if (i + 3 < length && is_marked(screen, three << 8 | text[i + 3]))
            return 1;
    }
    return 0;
}

static char *
put_text(char *to, const char *end, PyObject *value, const unsigned char *screen, unsigned char flags)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(value);
    if (!PyUnicode_IS_COMPACT_ASCII(value) || end - to < length + 2)
        return NULL;
    const unsigned char *from = PyUnicode_1BYTE_DATA(value);
    unsigned char stop = 0;
    *to++ = '"';
    for (Py_ssize_t i = 0; i < length; i++) {
        stop |= screen[from[i]];
        to[i] = (char)from[i];
    }
    to[length] = '"';
    if ((stop & flags) || (length >= screen[SCREEN_LENGTH] && may_be_secret(from, length, screen)))
        return NULL;
    return to + length + 1;
}

/* The text of a Decimal, a datetime and the like. */
static char *
put_text_of(const Method *self, char *to, const char *end, PyObject *value)
{
    PyObject *convert = Py_XNewRef(PyDict_GetItemWithError(self->texts, (PyObject *)Py_TYPE(value)));
    if (convert == NULL)
        return NULL;
    PyObject *text = PyObject_CallOneArg(convert, value);
    Py_DECREF(convert);
    if (text == NULL)
        return NULL;
    to = PyUnicode_CheckExact(text) ? put_text(to, end, text, self->screen.buf, SCREEN_ESCAPED) : NULL;
    Py_DECREF(text);
    return to;
}

static char *
put_value(const Method *self, char *to, const char *end, PyObject *value)
{
    const unsigned char *screen = self->screen.buf;
    if (PyUnicode_CheckExact(value))
        return put_text(to, end, value, screen, SCREEN_ESCAPED | SCREEN_BETWEEN);
    if (end - to < LONGEST_NUMBER)
        return NULL;
    if (PyFloat_CheckExact(value))
        return put_fraction(to, PyFloat_AS_DOUBLE(value));
    if (PyLong_CheckExact(value))
        return screen[SCREEN_NUMBERS] ? NULL : put_integer(to, value);
    const char *word = value == Py_True ? "true" : value == Py_False ? "false" : value == Py_None ? "null" : NULL;
    if (word == NULL)
        return put_text_of(self, to, end, value);
    size_t length = strlen(word);
    memcpy(to, word, length);
    return to + length;
}

char *
put_fields(const Method *self, char *to, const char *end, PyObject *names, PyObject *const *values, PyObject *kwnames)
{
    Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        PyObject *piece = PyUnicode_CheckExact(name) ? PyDict_GetItemWithError(names, name) : NULL;
        if (piece == NULL || !PyBytes_CheckExact(piece))
            return NULL;
        Py_ssize_t length = PyBytes_GET_SIZE(piece);
        if (end - to < length + 3)
            return NULL;
        memcpy(to, PyBytes_AS_STRING(piece), length);
        to = put_value(self, to + length, end - 2, values[i]);
        if (to == NULL)
            return NULL;
        *to++ = ',';
    }
    if (count)
        to--;
    *to++ = '}';
    *to++ = '\n';
    return to;
}
