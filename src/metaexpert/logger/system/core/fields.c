/* The fields of a call as JSON.

   Taken are texts, numbers, booleans, None, values that have a short text of their own (scalars.py: TEXTS), and dicts,
   lists and tuples of them, of these very types. Python judges a name when it comes for the first time, and each text
   that may hold a secret. Each function returns -1 (or NULL), perhaps with an error, for what is for the plain chain:
   other values, and secrets. */

#include "core.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* Containers in each other. */
#define MAX_DEPTH 63
/* The longest number: a sign and 19 digits, or a fraction of 15 digits with zeros and a point. */
#define LONGEST_NUMBER 24
/* Doubles with at most so many digits have exactly one such decimal form (DBL_DIG). */
#define EXACT_DIGITS 1e15
#define MOST_DECIMALS 12

/* What fits 64 bits, with sign or without: as orjson. */
static char *
put_integer(char *to, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) {
        unsigned long long large = overflow > 0 ? PyLong_AsUnsignedLongLong(value) : 0;
        return overflow < 0 || PyErr_Occurred() ? NULL : put_digits(to, large);
    }
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

/* Make room for *more* bytes. */
static int
reserve(Buffer *to, Py_ssize_t more)
{
    if (to->end - to->at >= more)
        return 0;
    Py_ssize_t used = to->at - to->start, size = 2 * (used + more);
    if (used + more > to->limit + ROOM)
        return -1;
    char *new = PyMem_Realloc(to->start == to->room ? NULL : to->start, (size_t)size);
    if (new == NULL)
        return -1;
    if (to->start == to->room)
        memcpy(new, to->room, (size_t)used);
    to->start = new;
    to->at = new + used;
    to->end = new + size;
    return 0;
}

static int
put_raw(Buffer *to, const char *bytes, Py_ssize_t length)
{
    if (reserve(to, length) < 0)
        return -1;
    memcpy(to->at, bytes, (size_t)length);
    to->at += length;
    return 0;
}

static int
put_piece(Buffer *to, PyObject *piece)
{
    return PyBytes_CheckExact(piece) ? put_raw(to, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece)) : -1;
}

PyObject *
look_up(const Method *self, Buffer *to, PyObject *cache, PyObject *key, PyObject *name, PyObject *context)
{
    PyObject *found = PyDict_GetItemWithError(cache, key);
    if (found != NULL || PyErr_Occurred() || to->asked++ >= MOST_ASKED)
        return Py_XNewRef(found);
    PyObject *stack[] = {self->encoder, key, context};
    return PyObject_VectorcallMethod(name, stack, context == NULL ? 2 : 3, NULL);
}

/* Whether *value*, a scalar, is known to be no secret. */
static int
is_clear(const Method *self, Buffer *to, PyObject *value)
{
    if (to->asked++ >= MOST_ASKED)
        return 0;
    PyObject *stack[] = {self->encoder, value};
    PyObject *answer = PyObject_VectorcallMethod(self->state->names.clear, stack, 2, NULL);
    Py_XDECREF(answer);
    return answer == Py_True;
}

/* Have orjson write a value. The flags of its characters go into *found*. Controls that a terminal may obey (C1) and
   line separators, which orjson leaves as they are, are for the plain chain to escape. */
static int
put_dumped(const Method *self, Buffer *to, PyObject *value, unsigned char *found)
{
    PyObject *text = PyObject_CallOneArg(self->dumps, value);
    int result = text == NULL ? -1 : put_piece(to, text);
    Py_ssize_t length = result < 0 ? 0 : PyBytes_GET_SIZE(text);
    const unsigned char *at = length ? (const unsigned char *)PyBytes_AS_STRING(text) : NULL;
    for (Py_ssize_t i = 0; i < length; i++) {
        *found |= ((const unsigned char *)self->screen.buf)[at[i]];
        if ((at[i] == 0xC2 && at[i + 1] < 0xA0) || (at[i] == 0xE2 && at[i + 1] == 0x80 && (at[i + 2] & 0xFE) == 0xA8))
            result = -1;
    }
    Py_XDECREF(text);
    return result;
}

/* Add the *text* of *value*; one with characters of *flags* may hold a secret. */
static int
put_text(const Method *self, Buffer *to, PyObject *value, PyObject *text, unsigned char flags)
{
    const unsigned char *screen = self->screen.buf;
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    int ascii = PyUnicode_IS_COMPACT_ASCII(text), suspicious = length >= screen[SCREEN_LENGTH];
    unsigned char found = 0;
    if (length > self->limit || reserve(to, length + 2) < 0)
        return -1;
    if (ascii) {
        const unsigned char *from = PyUnicode_1BYTE_DATA(text);
        for (Py_ssize_t i = 0; i < length; i++) {
            found |= screen[from[i]];
            to->at[i + 1] = (char)from[i];
        }
        suspicious = suspicious && may_be_secret(from, length, screen);
    }
    if (!ascii || found & SCREEN_ESCAPED) {
        if (put_dumped(self, to, text, &found) < 0)
            return -1;
    }
    else {
        to->at[0] = to->at[length + 1] = '"';
        to->at += length + 2;
    }
    return (found & flags || suspicious) && !is_clear(self, to, value) ? -1 : 0;
}

/* The text of a Decimal, a datetime and the like. */
static int
put_text_of(const Method *self, Buffer *to, PyObject *value)
{
    PyObject *convert = Py_XNewRef(PyDict_GetItemWithError(self->texts, (PyObject *)Py_TYPE(value)));
    PyObject *text = convert == NULL ? NULL : PyObject_CallOneArg(convert, value);
    int result = text != NULL && PyUnicode_CheckExact(text) ? put_text(self, to, value, text, 0) : -1;
    Py_XDECREF(convert);
    Py_XDECREF(text);
    return result;
}

static int
put_number(const Method *self, Buffer *to, PyObject *value)
{
    if (reserve(to, LONGEST_NUMBER) < 0)
        return -1;
    int whole = PyLong_CheckExact(value);
    if (whole && ((const unsigned char *)self->screen.buf)[SCREEN_NUMBERS] && !is_clear(self, to, value))
        return -1;
    char *at = whole ? put_integer(to->at, value) : put_fraction(to->at, PyFloat_AS_DOUBLE(value));
    if (at != NULL) {
        to->at = at;
        return 0;
    }
    unsigned char found = 0;
    return whole || !isfinite(PyFloat_AS_DOUBLE(value)) ? -1 : put_dumped(self, to, value, &found);
}

static int put_value(const Method *self, Buffer *to, PyObject *value, int depth);

/* A text in a list may be the name of what comes after it: `["--token", …]`. */
static int
is_word_clear(const Method *self, Buffer *to, PyObject *text)
{
    if (self->words == Py_None)
        return 1;
    if (PyUnicode_GET_LENGTH(text) && PyUnicode_READ_CHAR(text, 0) == '-')
        return 0;
    PyObject *kind = look_up(self, to, self->words, text, self->state->names.word, NULL);
    int clear = kind != NULL && PyLong_CheckExact(kind) && PyLong_AsLong(kind) == 0;
    Py_XDECREF(kind);
    return clear;
}

static int
put_list(const Method *self, Buffer *to, PyObject *list, int depth)
{
    if (put_raw(to, "[", 1) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list); i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(list, i));
        int result = i && put_raw(to, ",", 1) < 0 ? -1 : put_value(self, to, item, depth);
        if (result == 0 && PyUnicode_CheckExact(item) && !is_word_clear(self, to, item))
            result = -1;
        Py_DECREF(item);
        if (result < 0)
            return -1;
    }
    return put_raw(to, "]", 1);
}

/* The plain chain judges the names of a larger dict together, which costs less. */
#define MOST_KEYS 256

static int
put_dict(const Method *self, Buffer *to, PyObject *dict, int depth)
{
    Py_ssize_t position = 0, count = 0;
    PyObject *key, *value;
    if (PyDict_GET_SIZE(dict) > MOST_KEYS || put_raw(to, "{", 1) < 0)
        return -1;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (!PyUnicode_CheckExact(key) || (count++ && put_raw(to, ",", 1) < 0))
            return -1;
        Py_INCREF(key); /* the code of a value may change the dict */
        Py_INCREF(value);
        PyObject *piece = look_up(self, to, self->keys, key, self->state->names.key, NULL);
        int result = piece == NULL || put_piece(to, piece) < 0 ? -1 : put_value(self, to, value, depth);
        Py_XDECREF(piece);
        Py_DECREF(value);
        Py_DECREF(key);
        if (result < 0)
            return -1;
    }
    return put_raw(to, "}", 1);
}

/* *depth* containers may begin here. */
static int
put_value(const Method *self, Buffer *to, PyObject *value, int depth)
{
    if (PyUnicode_CheckExact(value))
        return put_text(self, to, value, value, SCREEN_BETWEEN);
    if (PyFloat_CheckExact(value) || PyLong_CheckExact(value))
        return put_number(self, to, value);
    if (value == Py_None)
        return put_raw(to, "null", 4);
    if (PyBool_Check(value))
        return value == Py_True ? put_raw(to, "true", 4) : put_raw(to, "false", 5);
    if (PyDict_CheckExact(value))
        return depth ? put_dict(self, to, value, depth - 1) : -1;
    if (PyList_CheckExact(value) || PyTuple_CheckExact(value))
        return depth ? put_list(self, to, value, depth - 1) : -1;
    return put_text_of(self, to, value);
}

/* A place in the code hands over the same tuple of names at each call: its address stands for all of them. One that
   comes for the second time is laid out, so a call with ``**fields``, which makes a tuple each time, costs no more. */
static size_t
site_of(PyObject *kwnames)
{
    return ((uintptr_t)kwnames >> 5) % SITES;
}

static PyObject *
lay_out_names(PyObject *names, PyObject *kwnames)
{
    PyObject *laid = PyTuple_New(PyTuple_GET_SIZE(kwnames));
    for (Py_ssize_t i = 0; laid != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *piece = PyDict_GetItemWithError(names, PyTuple_GET_ITEM(kwnames, i));
        PyObject *text = piece != NULL && PyBytes_CheckExact(piece) ?
                             PyBytes_FromFormat("%s%s", i ? "," : "", PyBytes_AS_STRING(piece)) : NULL;
        if (text == NULL)
            Py_CLEAR(laid);
        else
            PyTuple_SET_ITEM(laid, i, text);
    }
    return laid;
}

/* Keep the names of a call whose fields were put, and their pieces if they came before. -1 with an error. */
static int
remember_site(BoundContext *context, PyObject *names, PyObject *kwnames)
{
    size_t site = site_of(kwnames);
    if (context->sites[site] == kwnames)
        Py_XSETREF(context->laid[site], lay_out_names(names, kwnames));
    else {
        Py_CLEAR(context->laid[site]);
        Py_XSETREF(context->sites[site], Py_NewRef(kwnames));
    }
    return PyErr_Occurred() ? -1 : 0;
}

int
put_fields(const Method *self, Buffer *to, BoundContext *context, PyObject *const *values, PyObject *kwnames)
{
    Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    size_t site = site_of(kwnames);
    PyObject *laid = count && context->sites[site] == kwnames ? Py_XNewRef(context->laid[site]) : NULL;
    PyObject *names = Py_XNewRef(context->names); /* a call may replace it, and what is laid out */
    int result = names != NULL && PyDict_CheckExact(names) ? 0 : -1;
    for (Py_ssize_t i = 0; i < count && result == 0; i++) {
        PyObject *piece, *name = PyTuple_GET_ITEM(kwnames, i);
        if (laid != NULL)
            piece = Py_NewRef(PyTuple_GET_ITEM(laid, i));
        else if (!PyUnicode_CheckExact(name) || (i && put_raw(to, ",", 1) < 0))
            piece = NULL;
        else
            piece = look_up(self, to, names, name, self->state->names.name, (PyObject *)context);
        if (piece == NULL || put_piece(to, piece) < 0 || put_value(self, to, values[i], MAX_DEPTH) < 0)
            result = -1;
        Py_XDECREF(piece);
    }
    if (result == 0 && count && laid == NULL)
        result = remember_site(context, names, kwnames);
    Py_XDECREF(laid);
    Py_XDECREF(names);
    return result < 0 ? -1 : put_raw(to, "}\n", 2);
}
