/* What `tally.c` counts, for `tally_result.c`, which hands it to Python; and lists of numbers, also for `project.c`. */

#ifndef METAEXPERT_TALLY_H
#define METAEXPERT_TALLY_H

#include "core.h"

enum {
    MOST_KINDS = 512,
    MOST_PROCESSES = 64,
    MOST_MINUTES = 512,
    MINUTE = 16,           /* 2026-11-22T10:31 */
    SECOND = 19,
    MOST_SHAPED = 200,     /* a longer message is its own shape: quoted parts are replaced up to 200 characters */
    MOST_FIELDS = 8,
    MOST_COLLAPSED = 3,    /* so many digits in a row belong to no identifier of a fixed length */
};

/* A growing list of numbers. */
typedef struct {
    int64_t *items;
    size_t used, room;
} List;

/* A level, a process and an expert, as they are in a line. */
typedef struct {
    Text level, head, expert;
    int process, special;
    int64_t count;
} Kind;

/* Its runs are first number, last number, -1 for ordinary lines, and number, 0, place in the specials for others. Its
   ranges are first and last number of those that follow one another: of ordinary lines, and of all. */
typedef struct {
    Text host, pid;
    List runs, ordinary, every;
    int64_t first, last; /* of the open run; none when first is 0 */
} Process;

typedef struct {
    Text minute;
    int64_t count;
} Minute;

typedef struct {
    Text shape, raw;
    uint64_t hash;
    int64_t count, number;
} Message; /* an empty place of the table has no shape */

typedef struct {
    Py_buffer data;
    Kind kinds[MOST_KINDS];
    Process processes[MOST_PROCESSES];
    Minute minutes[MOST_MINUTES];
    int kind_count, process_count, minute_count, minute, failed;
    Message *messages;     /* a hash table with open addressing */
    size_t message_count, message_room;
    char *shapes;          /* no longer than all data */
    size_t shapes_used;
    List specials, marks, odd, unsure, values;
    List telling;          /* begin, end and number, as `select` has them */
    Keys keys;             /* with some, messages and minutes are not counted */
    Text host, pid;        /* with a host, keys, trades and errors tell for this process alone */
    const char *latest;    /* the time of the line before; NULL at first */
    const char *low, *high; /* the earliest time and the latest */
    int strict, back, field_count;
    Text names[MOST_FIELDS];
    Needle needles[MOST_FIELDS]; /* the names in quotes */
} Tally;

#ifdef __GNUC__
#pragma GCC visibility push(hidden)
#endif

/* Append to a list. Returns -1 without memory. */
int add_number(List *list, int64_t item); /* tally.c */

/* Count all lines of the data. */
void count_lines(Tally *tally); /* tally.c */

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

static inline PyObject *
bytes_of(const List *list)
{
    return PyBytes_FromStringAndSize((const char *)list->items, (Py_ssize_t)(list->used * sizeof(int64_t)));
}

#endif
