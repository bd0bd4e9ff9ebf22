/* The compiled part of metaexpert.logger: what its files share.

   module.c   the module: its state, and the Python classes whose slots it reads
   method.c   the type of a log method
   call.c     a log call, from its arguments to the line in the journal
   fields.c   the fields of a call as JSON, unless they may hold a secret
   files.c    what the writing thread asks of the system
   scan.c     the reader's first look at lines
   tally.c    counts of lines by their headers
   header.c   the header of a line, and whether the line is sound

   It is optional: `native.py` loads it, and each function has a counterpart in Python with the same results.

   Threads: it relies on the interpreter lock, and is not loaded where there is none. Python code runs wherever a
   function calls back, so each object that is used afterwards is owned, and the screen is held as a buffer. */

#ifndef METAEXPERT_CORE_H
#define METAEXPERT_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* -- the module ------------------------------------------------------------------------------------------------- */

/* The slots of Python classes that calls read, each with the class that it is in. */
#define FOR_EACH_SLOT(DO) \
    DO(route, head) DO(route, lanes) DO(route, count) DO(route, check) DO(route, after) DO(route, number) \
    DO(route, lost) DO(route, failed) DO(route, trade) DO(context, before_fields) DO(context, alone) \
    DO(context, names) DO(context, trade) DO(context, generation) DO(frame, encoded)

/* Of one interpreter. */
typedef struct {
    PyTypeObject *route, *context, *frame;
#define OFFSET(class, name) Py_ssize_t class##_##name; /* of the slot in an instance */
    FOR_EACH_SLOT(OFFSET)
    PyObject *generation; /* of the registered secrets; bound contexts of another one are for Python to renew */
    PyObject *bound_context_name, *write_name, *append_name, *append_keywords;
} State;

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

/* -- the screen: the layout of `encoding/_screen.py` -------------------------------------------------------------- */

/* Flags for each character, 1 for those that JSON escapes and 2 for those that stand between a name and a secret; the
   length from which on a text is searched as a whole; whether integers may be secrets; and a set of three or four
   characters in a row, one of which is in each text with another kind of secret. The set is of hashes: it may send a
   text to Python for nothing, and never keeps one from it. */
enum {
    SCREEN_ESCAPED = 1,
    SCREEN_BETWEEN = 2,
    SCREEN_LENGTH = 256,
    SCREEN_NUMBERS = 257,
    SCREEN_BITS = 258,
    SCREEN_SIZE = SCREEN_BITS + 16384,
};

/* -- a log method ------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *dict;
    PyObject *module;        /* keeps the state */
    State *state;
    PyObject *plain;         /* the Python function */
    PyObject *route;         /* where entries go */
    PyObject *other;         /* where they go when a context makes trades of them, or the reverse */
    PyObject *messages;      /* dict: message -> its piece of the line */
    PyObject *current_frame; /* ContextVar of log_context */
    PyObject *foreign;       /* dict of structlog's contextvars */
    PyObject *context_in;    /* Encoder.context_in */
    PyObject *new_second;    /* Clock.new_second */
    PyObject *now;           /* clock; None for the system's */
    PyObject *texts;         /* dict: type -> function that returns the text of a value; see values.py */
    Py_buffer screen;        /* held while the method lives: it may change, but not move */
    PyObject *line_start;    /* how a line of this second begins; NULL at first */
    int64_t second;          /* when it began, in nanoseconds since the epoch */
    Py_ssize_t limit;        /* longer lines are for Python */
} Method;

/* -- a line ------------------------------------------------------------------------------------------------------ */

enum { TIME = 26 }; /* 2026-11-22T10:31:00.123456 */

typedef struct {
    const char *at;
    size_t size;
} Text;

/* The parts of the header. *head* is all from severity to msgid. */
typedef struct {
    Text level, head, host, appname, pid, msgid, message;
    const char *time, *number_at;
    int64_t number;
    int escaped; /* whether the message has escape sequences */
} Header;

/* -- functions ---------------------------------------------------------------------------------------------------- */

#ifdef __GNUC__
#pragma GCC visibility push(hidden)
#endif

extern PyType_Spec method_spec; /* method.c */
extern PyMethodDef file_functions[]; /* files.c */
extern PyMethodDef scan_functions[]; /* scan.c */
extern PyMethodDef tally_functions[]; /* tally.c */

/* Return the size of the UTF-8 sequence that begins there, or 0. */
int sequence_size(const unsigned char *at, const unsigned char *end); /* scan.c */

/* Return whether a line begins with a whole header of our writer and ends like an entry. */
int read_header(const char *line, const char *end, Header *header); /* header.c */

/* Return whether a line with that header certainly is JSON and conforms to the schema. */
int is_sound(const Header *header, const char *end); /* header.c */

PyObject *log_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames); /* call.c */

/* Write `"name":value,…}` and a newline at *to*, before *end*. */
char *put_fields(const Method *self, char *to, const char *end, PyObject *names, PyObject *const *values,
                 PyObject *kwnames); /* fields.c */


#ifdef __GNUC__
#pragma GCC visibility pop
#endif

static inline int
same(Text one, Text other)
{
    return one.size == other.size && memcmp(one.at, other.at, one.size) == 0;
}

static inline int
is_word(Text text, const char *word)
{
    return same(text, (Text){word, strlen(word)});
}

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

#endif
