/* The regular way of a batch from the map to its file, in one call that gives the interpreter lock away once: lock, look,
   note the intent, write, look again, commit; where the caller wants it also one rotation. Whatever is not regular (a
   busy lock, a file that someone has moved, half a line at its end, a disk that takes no more, a rotation by the clock)
   changes nothing and is left to Python, which is the reference: `files/_rotating_file.py` and `system/locks.py`. As no
   bytecode runs in between, neither a signal handler nor an injected exception can cut an entry in two. */

#include "core.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* The bytes of a segment: `journal/segment.py` and docs/journal.md. */
enum { HEADER_SIZE = 512, SLOT_SIZE = 68, FIRST_SLOT = 320, SECOND_SLOT = 416 };
/* The longest write, in bytes, that takes no time in which someone could delete the file. */
enum { QUICK = 4096 };
/* The numbers of a slot, in its order. */
enum { GENERATION, EPOCH, DRAINED, INTENT_START, INTENT_END, DEVICE, INODE, OFFSET, NUMBERS };

#if HAS_APPENDER
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    PyObject_HEAD
    PyObject *threads;   /* the lock between threads, below that of the directory's file */
    PyObject *lock_path; /* bytes, like the other path */
    PyObject *path;
    int lock_fd, fd;
    struct stat lock, file; /* as they were opened; the lock's time of modification is renewed */
    long long largest;      /* a longer file is rotated */
    long long period;       /* seconds after which it is rotated too; 0 for never */
    long long end;          /* of the file, after the last batch */
    Py_ssize_t backups;     /* how many a rotation keeps */
    int own;                /* whether a rotation has opened the file, and nobody has taken it since */
    int former;             /* the file that was its own before a rotation, until this call ends; else -1 */
    struct stat former_file;
    Names listed;           /* by a rotation, until this call ends */
} Appender;

static int
same_file(const struct stat *one, const struct stat *other)
{
    return one->st_ino == other->st_ino && one->st_dev == other->st_dev;
}

/* CRC-32 as zlib computes it, four bits at a time. */
static uint32_t
checksum(const unsigned char *bytes, size_t length)
{
    static const uint32_t table[] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    uint32_t sum = 0xFFFFFFFF;
    while (length--) {
        sum ^= *bytes++;
        sum = sum >> 4 ^ table[sum & 15];
        sum = sum >> 4 ^ table[sum & 15];
    }
    return ~sum;
}

/* Note the numbers in one of the two slots in turn: a kill in the middle leaves the other. */
static void
store(char *map, uint64_t *numbers)
{
    numbers[GENERATION]++;
    uint32_t sum = checksum((const unsigned char *)numbers, NUMBERS * sizeof *numbers);
    char *slot = map + (numbers[GENERATION] % 2 ? SECOND_SLOT : FIRST_SLOT);
    memcpy(slot, numbers, NUMBERS * sizeof *numbers);
    memcpy(slot + NUMBERS * sizeof *numbers, &sum, sizeof sum);
}

static void
intend(char *map, uint64_t *numbers, uint64_t start, uint64_t end, const struct stat *file)
{
    numbers[INTENT_START] = start;
    numbers[INTENT_END] = end;
    numbers[DEVICE] = file == NULL ? 0 : (uint64_t)file->st_dev;
    numbers[INODE] = file == NULL ? 0 : (uint64_t)file->st_ino;
    numbers[OFFSET] = file == NULL ? 0 : (uint64_t)file->st_size;
    store(map, numbers);
}

/* Return the offset behind the last newline before *end*, or *start*. */
static long long
line_end(const char *map, long long start, long long end)
{
    while (end > start && map[end - 1] != '\n')
        end--;
    return end;
}

/* Return how many bytes of the lines from *start* to *end* the file takes before its next rotation; 0 when it is due. */
static long long
room_for(const Appender *self, const char *map, long long start, long long end, const struct stat *file)
{
    long long size = file->st_size;
    const char *newline = memchr(map + start, '\n', (size_t)(end - start));
    long long first = newline == NULL ? end - start : newline + 1 - (map + start);
    if (self->period && (!size || time(NULL) / self->period > file->st_mtime / self->period))
        return 0;
    if (size && size + first > self->largest)
        return 0;
    if (end - start <= self->largest - size)
        return end - start;
    long long fitting = line_end(map, start, start + (self->largest > size ? self->largest - size : 0)) - start;
    return fitting > first ? fitting : first;
}

/* Returns whether the file has all of it; -1 when it may have a part: Python finds by the intent what is there. */
static int
write_all(int fd, const char *bytes, long long length, long long size)
{
    long long done = 0;
    while (done < length) {
        ssize_t count = write(fd, bytes + done, (size_t)(length - done));
        if (count > 0)
            done += count;
        else if (count == 0 || errno != EINTR)
            break;
    }
    if (done == length)
        return 1;
    return done == 0 || ftruncate(fd, size) == 0 ? 0 : -1;
}

/* Move the file and its backups up by one, and go on in a new one. What fails is left to Python, which opens whatever
   bears the name by then. The old descriptor stays open: closing a number, of which another thread may have made its own
   meanwhile, takes the interpreter lock. */
static int
rotate_own(Appender *self)
{
    struct stat made, named;
    const char *path = PyBytes_AS_STRING(self->path);
    int flags = O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    if (rotate_path(path, self->backups, &self->listed) < 0)
        return 0;
    int fd = open(path, flags, 0640);
    if (fd < 0)
        return 0;
    /* The number may stand for something of the program's by now, as after its own close of all: then it is left alone. */
    if (fstat(fd, &made) < 0 || stat(path, &named) < 0 || !same_file(&made, &named))
        return 0;
    if (fd <= STDERR_FILENO) { /* a program whose standard error was closed prints there */
        close(fd);
        return 0;
    }
    if (self->own) {
        self->former = self->fd;
        self->former_file = self->file;
    }
    self->fd = fd;
    self->file = made;
    self->own = 1;
    return 1;
}

enum { FAILED = -1, FULL = 0 };

/* Append as many of the lines up to *end* as the file takes before its next rotation. Returns how many bytes that were,
   FULL if the rotation is due now, or FAILED. */
static long long
append_piece(Appender *self, char *map, uint64_t *numbers, long long end)
{
    struct stat file;
    char last;
    if (numbers[INTENT_END]) /* a batch failed, and a part of it may be in the file */
        return FAILED;
    if (fstat(self->fd, &file) < 0 || !same_file(&file, &self->file) || stat(PyBytes_AS_STRING(self->path), &file) < 0 ||
        !same_file(&file, &self->file))
        return FAILED;
    long long start = (long long)numbers[DRAINED], length = room_for(self, map, start, end, &file);
    if (!length)
        return FULL;
    /* Behind half a line of someone who died the next one must not follow. */
    if (file.st_size && file.st_size != self->end && (pread(self->fd, &last, 1, file.st_size - 1) != 1 || last != '\n'))
        return FAILED;
    intend(map, numbers, (uint64_t)start, (uint64_t)(start + length), &file);
    int written = write_all(self->fd, map + start, length, file.st_size);
    if (written <= 0) {
        if (!written)
            intend(map, numbers, 0, 0, NULL);
        return FAILED;
    }
    self->end = file.st_size + length;
    if (length > QUICK && (fstat(self->fd, &file) < 0 || !same_file(&file, &self->file) || !file.st_nlink))
        return FAILED;
    numbers[DRAINED] = (uint64_t)(start + length);
    intend(map, numbers, 0, 0, NULL);
    return length;
}

/* Append the lines up to *end*, under the lock of the directory, with at most one rotation: until the interpreter lock is
   had again, the file before it stays open. Returns what became of them. */
static int
append_lines(Appender *self, char *map, uint64_t *numbers, long long end, int rotates)
{
    rotates = rotates && self->backups && !self->period;
    for (int rotated = 0;; rotated = 1) {
        long long length = append_piece(self, map, numbers, end);
        if (length == FAILED)
            return APPEND_IRREGULAR;
        if ((long long)numbers[DRAINED] == end)
            return APPEND_DONE;
        if (rotated)
            return APPEND_MORE;
        if (!rotates || !rotate_own(self))
            return APPEND_IRREGULAR;
    }
}

/* The same with the lock of the directory. The lock file may have been closed, while its directory was hidden, and its
   number be another file's by now. Someone may have deleted the directory, and another process have made the lock file
   anew. A process that waits for the lock touches its file; Python lets it go first. */
static int
append_locked(Appender *self, char *map, uint64_t *numbers, long long end, int rotates)
{
    struct stat lock;
    if (fstat(self->lock_fd, &lock) < 0 || !same_file(&lock, &self->lock) ||
        flock(self->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return APPEND_IRREGULAR;
    int done = APPEND_IRREGULAR;
    if (stat(PyBytes_AS_STRING(self->lock_path), &lock) == 0 && same_file(&lock, &self->lock)) {
        int touched = memcmp(&MODIFIED(lock), &MODIFIED(self->lock), sizeof MODIFIED(lock));
        self->lock = lock;
        if (!touched)
            done = append_lines(self, map, numbers, end, rotates);
    }
    flock(self->lock_fd, LOCK_UN);
    return done;
}

/* -- the type ----------------------------------------------------------------------------------------------------- */

static PyObject *
appender_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    Appender *self = (Appender *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    int parsed = PyArg_ParseTuple(args, "OiO&iO&LLn", &self->threads, &self->lock_fd, PyUnicode_FSConverter,
                                  &self->lock_path, &self->fd, PyUnicode_FSConverter, &self->path, &self->largest,
                                  &self->period, &self->backups);
    Py_XINCREF(self->threads);
    self->end = self->former = -1;
    if (!parsed)
        Py_CLEAR(self);
    else if (fstat(self->lock_fd, &self->lock) < 0 || fstat(self->fd, &self->file) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static int
appender_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((Appender *)object)->threads);
    return 0;
}

/* Close a descriptor, unless it stands for another file by now. With the interpreter lock. */
static void
close_same(int fd, const struct stat *file)
{
    struct stat now;
    if (fstat(fd, &now) == 0 && same_file(&now, file))
        close(fd);
}

static void
appender_dealloc(PyObject *object)
{
    Appender *self = (Appender *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->own)
        close_same(self->fd, &self->file);
    Py_CLEAR(self->threads);
    Py_CLEAR(self->lock_path);
    Py_CLEAR(self->path);
    type->tp_free(object);
    Py_DECREF(type);
}

/* Return whether the lock could be had within a second: its holder may have been interrupted by the caller. */
static int
acquire(State *state, PyObject *lock)
{
    PyObject *arguments[] = {lock, Py_False, state->patience};
    PyObject *got = PyObject_VectorcallMethod(state->names.acquire, arguments, 2, NULL);
    if (got == Py_False) { /* now with patience, which costs more */
        Py_DECREF(got);
        arguments[1] = Py_True;
        got = PyObject_VectorcallMethod(state->names.acquire, arguments, 3, NULL);
    }
    int result = got == NULL ? -1 : got == Py_True;
    Py_XDECREF(got);
    return result;
}

/* Release the lock; an exception that is set stays. */
static void
release(State *state, PyObject *lock)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *done = PyObject_CallMethodNoArgs(lock, state->names.release);
    if (done == NULL)
        PyErr_WriteUnraisable(lock);
    Py_XDECREF(done);
    PyErr_SetRaisedException(error);
}

int
is_segment(const Tail *tail, const Py_buffer *map, const Py_buffer *numbers)
{
    const uint64_t *values = numbers->buf;
    if (numbers->len == NUMBERS * sizeof *values && map->len == tail->size && values[DRAINED] >= HEADER_SIZE &&
        values[DRAINED] <= (uint64_t)map->len)
        return 1;
    PyErr_SetString(PyExc_ValueError, "not a segment of a journal");
    return 0;
}

/* Close what a rotation has left open. With the interpreter lock. */
static void
tidy(Appender *self)
{
    free_names(&self->listed);
    if (self->former >= 0)
        close_same(self->former, &self->former_file);
    self->former = -1;
}

/* Append what waits in a segment, if it still is of that *epoch*. Returns what became of it; -1 with an exception. */
static int
append_segment(Appender *self, Tail *tail, PyObject *numbers, unsigned long long epoch, int rotates)
{
    Py_buffer map, slot;
    int done = APPEND_IRREGULAR;
    if (PyObject_GetBuffer(tail->map, &map, PyBUF_WRITABLE) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError))
            return -1;
        PyErr_Clear(); /* given back meanwhile */
        return APPEND_IRREGULAR;
    }
    if (PyObject_GetBuffer(numbers, &slot, PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&map);
        return -1;
    }
    uint64_t *values = slot.buf;
    if (!is_segment(tail, &map, &slot))
        done = -1;
    else if (values[EPOCH] == epoch) {
        long long start = (long long)values[DRAINED], end = tail->position;
        Py_BEGIN_ALLOW_THREADS
        /* A sealed segment has lost its position; behind the last newline all is zero. */
        end = line_end(map.buf, start, end);
        done = end == start ? APPEND_DONE : append_locked(self, map.buf, values, end, rotates);
        Py_END_ALLOW_THREADS
        tidy(self);
    }
    PyBuffer_Release(&slot);
    PyBuffer_Release(&map);
    return done;
}

/* The same, holding the directory's lock between threads, and the appender's. */
static int
append_waiting(State *state, Appender *self, PyObject *outer, Tail *tail, PyObject *numbers, unsigned long long epoch,
               int rotates)
{
    PyObject *inner = Py_NewRef(self->threads);
    int done = acquire(state, outer);
    if (done > 0) {
        done = acquire(state, inner);
        if (done > 0) {
            done = append_segment(self, tail, numbers, epoch, rotates);
            release(state, inner);
        }
        release(state, outer);
    }
    Py_DECREF(inner);
    return done;
}

int
waits_alone(const Tail *tail, const Py_buffer *numbers, unsigned long long epoch)
{
    const uint64_t *values = numbers->buf;
    Py_ssize_t end = WHOLE(tail);
    return values[EPOCH] != epoch || end >= tail->size || (uint64_t)end != values[DRAINED];
}

int
append_alone(PyObject *appender, const Tail *tail, Py_buffer *map, Py_buffer *numbers, unsigned long long epoch, int rotates,
             PyThreadState **thread)
{
    Appender *self = (Appender *)appender;
    uint64_t *values = numbers->buf;
    if (!take_mutex((Mutex *)self->threads, PATIENCE))
        return APPEND_IRREGULAR;
    int done = APPEND_IRREGULAR;
    Py_ssize_t end = WHOLE(tail);
    if (values[EPOCH] == epoch && end < tail->size)
        done = (uint64_t)end == values[DRAINED] ? APPEND_DONE : append_locked(self, map->buf, values, end, rotates);
    if (self->former >= 0 || self->listed.stream != NULL || self->listed.text != NULL) {
        PyEval_RestoreThread(*thread);
        tidy(self);
        *thread = PyEval_SaveThread();
    }
    give_mutex((Mutex *)self->threads);
    return done;
}

int
has_mutex(const State *state, PyObject *appender)
{
    return Py_IS_TYPE(((Appender *)appender)->threads, state->types.Mutex);
}

static PyObject *
appender_append(PyObject *object, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *state = PyType_GetModuleState(type);
    if (count != 5 || (names != NULL && PyTuple_GET_SIZE(names)) || !Py_IS_TYPE(args[1], state->types.Tail)) {
        PyErr_SetString(PyExc_TypeError, "append(directory_lock, tail, numbers, epoch, rotates)");
        return NULL;
    }
    unsigned long long epoch = PyLong_AsUnsignedLongLong(args[3]);
    if (epoch == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    int done = append_waiting(state, (Appender *)object, args[0], (Tail *)args[1], args[2], epoch, args[4] == Py_True);
    return done < 0 ? NULL : PyBool_FromLong(done == APPEND_DONE);
}

static PyObject *
appender_take(PyObject *object, PyObject *Py_UNUSED(none))
{
    Appender *self = (Appender *)object;
    if (!self->own)
        Py_RETURN_NONE;
    self->own = 0;
    return Py_BuildValue("iKK", self->fd, (unsigned long long)self->file.st_dev, (unsigned long long)self->file.st_ino);
}

static PyMethodDef methods[] = {
    {"append", _PyCFunction_CAST(appender_append), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "append(directory_lock, tail, numbers, epoch, rotates): write what waits in a segment, and rotate at most once, if\n"
     "that is wanted; return whether all is written."},
    {"take", appender_take, METH_NOARGS,
     "take(): return descriptor, device and inode of the file that rotations have made, now the caller's; or None."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Appender(threads, lock_fd, lock_path, fd, path, largest, period, backups): appends batches to one file."},
    {Py_tp_new, appender_new},
    {Py_tp_dealloc, appender_dealloc},
    {Py_tp_traverse, appender_traverse},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec Appender_spec = {
    .name = "metaexpert.logger.system._core.Appender",
    .basicsize = sizeof(Appender),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
#endif
