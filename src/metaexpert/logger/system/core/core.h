/* The compiled part of metaexpert.logger: what its files share.

   module.c   the module and its state
   records.c  the types that Python fills and calls read: Route, BoundContext, ContextFrame, Lane, Count
   method.c   the type of a log method
   call.c     a log call, from its arguments to the pieces of a line
   deliver.c  the line, from its pieces to the journal
   fields.c   the fields of a call as JSON, unless they may hold a secret
   tail.c     the end of a segment of the journal
   append.c   a batch, from the map to its file
   passes.c   what the writing thread does while nothing but batches is to be done
   mutex.c    a lock that it takes then
   files.c    what the writing thread asks of the system
   listing.c  the names in a directory
   rotate.c   a rotation, and compressed backups in the place of others
   stretch.c  what the time index says of lines
   scan.c     the reader's first look at lines
   tally.c    counts of lines by their headers, and values of fields; tally_result.c hands them to Python
   header.c   the header of a line, and whether the line is sound

   It is optional: `native.py` loads it, and each part has a counterpart in Python with the same results.

   Threads: it relies on the interpreter lock, and is not loaded where there is none; what runs without that lock says so. Python code runs wherever a
   function calls back, so each object that is used afterwards is owned, and the screen is held as a buffer. */

#ifndef METAEXPERT_CORE_H
#define METAEXPERT_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(MS_WINDOWS) || !PY_LITTLE_ENDIAN
#define HAS_APPENDER 0
#else
#define HAS_APPENDER 1
#endif

#ifdef __APPLE__
#define MODIFIED(status) (status).st_mtimespec
#else
#define MODIFIED(status) (status).st_mtim
#endif

/* -- the module ------------------------------------------------------------------------------------------------- */

/* Names of attributes and methods that the core asks Python objects for. */
#define FOR_EACH_NAME(DO) \
    DO(_bound_context) DO(write) DO(append) DO(make_room) DO(context_in) DO(renewed) DO(message) DO(name) DO(key) DO(word) DO(clear) \
    DO(acquire) DO(release)

#if HAS_APPENDER
#define FOR_EACH_TYPE(DO) \
    DO(Method) DO(Route) DO(BoundContext) DO(ContextFrame) DO(Count) DO(Lane) DO(Tail) DO(Appender) DO(Mutex) DO(Passes)
#else
#define FOR_EACH_TYPE(DO) DO(Method) DO(Route) DO(BoundContext) DO(ContextFrame) DO(Count) DO(Lane) DO(Tail)
#endif

/* Of one interpreter. */
typedef struct {
    struct {
#define TYPE(name) PyTypeObject *name;
        FOR_EACH_TYPE(TYPE)
#undef TYPE
    } types;
    PyObject *generation; /* of the registered secrets; bound contexts of another one are renewed */
    PyObject *append_keywords, *alert;
    PyObject *own_blocks, *active_in; /* see context_frames.py; NULL before it is imported */
    PyObject *injected; /* tells whether an error is one of the program's; see interrupts.py */
    PyObject *patience; /* longest wait for a lock between threads, in seconds */
    struct {
#define NAME(name) PyObject *name;
        FOR_EACH_NAME(NAME)
#undef NAME
    } names;
} State;

/* Places in the code whose names of fields a context keeps laid out. */
enum { SITES = 4 };

/* -- records: route.py, fast.py and context_frames.py in encoding/ say what fields mean; NULL is one not set ----- */

typedef struct {
    PyObject_HEAD
    PyObject *trade, *head, *lanes, *numbers, *count, *check, *after, *lost, *failed;
} Route;

typedef struct {
    PyObject_HEAD
    PyObject *before_fields, *alone, *names, *own_names, *trade, *generation;
    PyObject *sites[SITES]; /* the names of the fields of a call, by the identity of their tuple: fields.c */
    PyObject *laid[SITES];  /* their pieces of a line, each with the comma before it; NULL until they come again */
} BoundContext;

typedef struct {
    PyObject_HEAD
    PyObject *parent, *fields, *lifts, *encoded, *source, *inside, *over;
} ContextFrame;

typedef struct {
    PyObject_HEAD
    unsigned long long value;
} Count;

typedef struct {
    PyObject_HEAD
    PyObject *write; /* appends one line */
} Lane;

typedef struct {
    PyObject_HEAD
    PyObject *map;
    Py_buffer memory; /* of the map, while it takes lines */
    Py_ssize_t position, size;
    Py_ssize_t whole; /* like the position, but never beyond a line that is not there yet: for `WHOLE` */
    uint32_t process; /* that takes lines; see `process_mark` */
} Tail;

#if HAS_APPENDER
/* Have a thread without the interpreter lock see what was written before; and see it there. */
#define PUBLISH(tail) __atomic_store_n(&(tail)->whole, (tail)->position, __ATOMIC_RELEASE)
#define WHOLE(tail) __atomic_load_n(&(tail)->whole, __ATOMIC_ACQUIRE)

typedef struct {
    PyObject_HEAD
    PyThread_type_lock lock;
    unsigned long owner; /* the thread that holds it, or 0 */
    unsigned depth;
} Mutex;
#else
#define PUBLISH(tail) ((void)(tail))
#endif

/* -- the screen: the layout of `encoding/_screen.py` -------------------------------------------------------------- */

/* Flags for each character, 1 for those that JSON escapes and 2 for those that stand between a name and a secret; the
   length from which on a text is searched as a whole; whether integers may be secrets; and a set of three or four
   characters in a row, one of which is in each text with another kind of secret. The set is of hashes: it may have
   Python asked for nothing, and never keeps a text from it. */
enum {
    SCREEN_ESCAPED = 1,
    SCREEN_BETWEEN = 2,
    SCREEN_LENGTH = 256,
    SCREEN_NUMBERS = 257,
    SCREEN_BITS = 258,
    SCREEN_SIZE = SCREEN_BITS + 16384,
};

/* -- a log method ------------------------------------------------------------------------------------------------- */

/* Fields that need more bytes are encoded in memory of their own. */
#define ROOM 2048

/* Entries for which Python has to be asked more often are for the plain chain, whose work is bounded. */
#define MOST_ASKED 64

/* Fields while they are encoded. */
typedef struct {
    char *start, *at, *end;
    Py_ssize_t limit; /* longer ones are for the plain chain */
    int asked;        /* how often Python was asked about a text that is new or may hold a secret */
    char room[ROOM];
} Buffer;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *dict;
    PyObject *module;        /* keeps the state */
    State *state;
    PyObject *plain;         /* the Python function for the plain chain, or the method that works, of one that is off */
    PyObject *current_frame; /* ContextVar of log_context */
    Route *route;            /* where entries go */
    Route *other;            /* where they go when a context makes trades of them, or the reverse; NULL: it is off */
    PyObject *encoder;       /* encoding/fast.py: judges what is new */
    PyObject *messages;      /* dict: message -> its piece of the line */
    PyObject *keys;          /* dict: key of a dict in a value -> its piece, or None */
    PyObject *words;         /* dict: text -> what it means as a name */
    PyObject *texts;         /* dict: type -> function that returns the text of a value; see values.py */
    PyObject *dumps;         /* orjson's */
    PyObject *foreign;       /* dict of structlog's contextvars */
    PyObject *new_second;    /* Clock.new_second */
    PyObject *now;           /* clock; None for the system's */
    Py_buffer screen;        /* held while the method lives: it may change, but not move */
    PyObject *line_start;    /* how a line of this second begins; NULL at first */
    int64_t second;          /* when it began, in nanoseconds since the epoch */
    Py_ssize_t limit;        /* longer lines are for the plain chain */
} Method;

/* -- a line ------------------------------------------------------------------------------------------------------ */

enum { TIME = 26 }; /* 2026-11-22T10:31:00.123456 */

typedef struct {
    const char *at;
    size_t size;
} Text;

/* What a line is joined of. Owned, apart from the route, which the method owns. */
typedef struct {
    Route *route;
    PyObject *line_start, *head, *message, *context;
    int64_t second, now;
} Pieces;

/* The parts of the header. *head* is all from severity to msgid. */
typedef struct {
    Text level, head, host, appname, pid, msgid, message;
    const char *time, *number_at;
    int64_t number;
    int escaped; /* whether the message has escape sequences */
} Header;

/* A text to search for, and the places of its two rarest bytes. With *fold* it is in lower case, and the case of ASCII
   letters does not count. *hit* is the first place at or behind the last start of a search, or the end for none. */
typedef struct {
    const unsigned char *text;
    Py_ssize_t size, first, second;
    int fold;
    const unsigned char *hit;
} Needle;

enum { MOST_KEYS = 32, SEEN_OF_KEY = 4 };

/* Ends of keys in lower case, such as `order_id":`. *with* are the keys, each a bit, that have a byte, in any case, so
   many places before the end; *shorter* those that do not reach there. */
typedef struct {
    Needle needles[MOST_KEYS];
    int count;
    uint32_t with[SEEN_OF_KEY][256], shorter[SEEN_OF_KEY];
} Keys;

/* Names in a directory, each behind its inode; read by `next_name`. *stream* is the open directory, which has an inode and
   a device too. */
typedef struct {
    char *text;
    size_t size, room, count;
    void *stream;
    uint64_t inode, device;
} Names;

/* -- functions ---------------------------------------------------------------------------------------------------- */

#ifdef __GNUC__
#pragma GCC visibility push(hidden)
#endif

#define SPEC(name) extern PyType_Spec name##_spec;
FOR_EACH_TYPE(SPEC)
#undef SPEC
extern PyMethodDef file_functions[]; /* files.c */
extern PyMethodDef listing_functions[]; /* listing.c */
extern PyMethodDef rotate_functions[]; /* rotate.c */
extern PyMethodDef stretch_functions[]; /* stretch.c */
extern PyMethodDef deliver_functions[]; /* deliver.c */
extern PyMethodDef signal_functions[]; /* signals.c */
extern PyMethodDef scan_functions[]; /* scan.c */
extern PyMethodDef tally_functions[]; /* tally_result.c */
extern PyMethodDef header_functions[]; /* header.c */
extern PyMethodDef project_functions[]; /* project.c */

/* Move a file and its backups up by one, of which *keep* are kept. Return -1 with errno. Without the interpreter lock;
   *names*, which are all zero, are freed by the caller, with it. */
int rotate_path(const char *path, Py_ssize_t keep, Names *names); /* rotate.c */

#ifndef MS_WINDOWS
/* List what is in a directory, or only files and links to files, into names that are all zero. Return -1 with errno.
   Without the interpreter lock. */
int list_names(const char *path, int only_files, Names *names); /* listing.c */

/* Free names, and close their directory; errno stays. With the interpreter lock: see the head of the file. */
void free_names(Names *names); /* listing.c */

/* Return the name that begins at *at*, which moves on, and its inode; NULL at the end. */
const char *next_name(const Names *names, size_t *at, uint64_t *inode); /* listing.c */
#endif

void choose_rarest(Needle *needle); /* scan.c */

/* Return the first place of the needle in a range, or its end. */
const unsigned char *find(const Needle *needle, const unsigned char *from, const unsigned char *end); /* scan.c */

/* Return whether the needle is there. */
int is_at(const Needle *needle, const unsigned char *place); /* scan.c */

/* Return the first place of an escape sequence that can stand for any character, or of a byte that is not UTF-8. */
const unsigned char *find_hidden(const unsigned char *from, const unsigned char *end); /* scan.c */

/* Add a text, whatever its case in the lines. Returns -1 with an exception. */
int add_key(Keys *keys, PyObject *text); /* keys.c */

/* Return whether one of the keys may be in a range: it is, or an escape sequence or bad UTF-8 can hide it. */
int has_key(const Keys *keys, const unsigned char *from, const unsigned char *end); /* keys.c */

/* Return whether `metaexpert.logs.entry.glance` knows the line for an entry without decoding it; take its number. */
int is_regular(const unsigned char *line, const unsigned char *end, int64_t *number); /* scan.c */

/* Return the size of the UTF-8 sequence that begins there, or 0. */
int sequence_size(const unsigned char *at, const unsigned char *end); /* scan.c */

/* Return whether a line begins with a whole header of our writer and ends like an entry. */
int read_header(const char *line, const char *end, Header *header); /* header.c */

/* Return the letter of a value, see `kinds_of`; 0 for an integer that may not fit 64 bits. */
char kind_of_value(Text value); /* header.c */

/* Read the name of the expert in a line: empty if it names none. Return 0 if only decoding the line tells. */
int read_expert(const Header *header, const char *end, Text *expert); /* header.c */

/* Is given a field of a line, as it is there. */
typedef void (*TakeField)(void *context, Text name, Text value);

/* Return whether a line with that header certainly is JSON and conforms to the schema. *take*, unless NULL, is given the
   fields that stand behind the message, also when the line proves not to be sound. */
int is_sound(const Header *header, const char *end, TakeField take, void *context); /* header.c */

PyObject *log_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames); /* call.c */
PyObject *disabled_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames);

/* deliver.c */
PyObject *call_field(PyObject *function, PyObject *const *args, size_t count);
int is_injected(const State *state);
int forgive(const State *state, const Route *route);
int deliver(const State *state, Pieces *pieces, const Buffer *fields);

/* Return room for a line of *length* bytes, which must be there before anything else happens; NULL if there is none, or
   if the segment is that of a process from which this one was forked. */
char *claim(Tail *tail, Py_ssize_t length); /* tail.c */

#if HAS_APPENDER
/* What became of a batch. *More* of it waits: the file was rotated on the way. What is irregular is for Python. */
enum { APPEND_IRREGULAR, APPEND_DONE, APPEND_MORE };

/* Return whether the buffers are those of a segment; else there is an exception. */
int is_segment(const Tail *tail, const Py_buffer *map, const Py_buffer *numbers); /* append.c */

/* Return whether there is something to append, or something is irregular. Without the interpreter lock. */
int waits_alone(const Tail *tail, const Py_buffer *numbers, unsigned long long epoch); /* append.c */

/* Append what waits in a segment, if it still is of that *epoch*. Without the interpreter lock; *thread* takes it for as
   long as what a rotation has opened is closed. The caller holds the directory's lock, and the appender has a mutex. */
int append_alone(PyObject *appender, const Tail *tail, Py_buffer *map, Py_buffer *numbers, unsigned long long epoch,
                 int rotates, PyThreadState **thread); /* append.c */
int has_mutex(const State *state, PyObject *appender);

/* Longest wait for a mutex, in microseconds: its holder may wait for the caller. */
enum { PATIENCE = 1000000 };

/* Take a mutex within some microseconds, and give it back. Without the interpreter lock. */
int take_mutex(Mutex *self, long long timeout); /* mutex.c */
void give_mutex(Mutex *self);

double clock_now(void); /* mutex.c */
#endif

/* Have forks noticed, also those that Python is not told of. Returns -1 with an error. */
int mark_process(void); /* tail.c */

/* Add `"name":value,…}` and a newline. Returns -1, perhaps with an error, when that is for the plain chain. */
int put_fields(const Method *self, Buffer *to, BoundContext *context, PyObject *const *values, PyObject *kwnames);

/* Look *key* up in *cache*, and ask the encoder's method *name* (with *context*, unless NULL) for what is not there.
   Returns a new reference, or NULL, perhaps with an error. */
PyObject *look_up(const Method *self, Buffer *to, PyObject *cache, PyObject *key, PyObject *name, PyObject *context);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

static inline int
is_bytes(PyObject *object)
{
    return object != NULL && PyBytes_CheckExact(object);
}

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
