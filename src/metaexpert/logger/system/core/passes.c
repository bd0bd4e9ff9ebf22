/* Passes of the writing thread over files whose batches are all that is to be done: it waits, and appends what came
   meanwhile, without Python and without the interpreter lock. So nothing that it does stops a thread of the program, and
   no thread that computes keeps it waiting. `WritingThread` is the reference, and does whatever is not regular. */

#include "core.h"

#if HAS_APPENDER
/* The parts of a file, see `LogFile.regular`; how often it may be rotated in one pass; and the longest wait for a lock
   between threads, in microseconds: its holder may wait for this thread. */
enum { TURN, APPENDER, LOCK, TAIL, NUMBERS, EPOCH, ROTATES, PARTS, MOST_ROTATIONS = 8, PATIENCE = 1000000 };

typedef struct {
    PyObject_HEAD
    PyThread_type_lock signal; /* held until the passes are to end */
    int stopped;
    volatile int current; /* the file that is being written, or -1; and since when */
    volatile double since;
} Passes;

typedef struct {
    PyObject *appender;
    Mutex *lock;
    Tail *tail;
    Py_buffer map, numbers;
    unsigned long long epoch;
    int rotates, held; /* how many of the buffers are held */
} File;

/* Append what waits for a file, under its lock. Returns as `append_waiting`. Without the interpreter lock. */
static int
write_file(File *file, PyThreadState **thread)
{
    int done = APPEND_MORE;
    for (int i = 0; i < MOST_ROTATIONS && done == APPEND_MORE; i++) {
        done = APPEND_IRREGULAR;
        if (take_mutex(file->lock, PATIENCE)) {
            done = append_alone(file->appender, file->tail, &file->map, &file->numbers, file->epoch, file->rotates, thread);
            give_mutex(file->lock);
        }
    }
    return done;
}

/* Returns whether another pass may follow. Without the interpreter lock. */
static int
pass_over(Passes *self, File *files, Py_ssize_t count, double patience, int *written, int *slow, PyThreadState **thread)
{
    for (int i = 0; i < count; i++) {
        int waits = waits_alone(files[i].tail, &files[i].numbers, files[i].epoch);
        if (!waits)
            continue;
        double since = clock_now();
        self->since = since;
        self->current = i;
        int done = write_file(&files[i], thread);
        self->current = -1;
        *written |= done == APPEND_DONE;
        if (clock_now() - since > patience)
            *slow = i;
        if (done != APPEND_DONE || *slow >= 0)
            return 0;
    }
    return 1;
}

static int
read_file(const State *state, PyObject *from, File *file)
{
    PyObject *const *parts = PySequence_Fast_ITEMS(from);
    if (!PyTuple_CheckExact(from) || PyTuple_GET_SIZE(from) != PARTS || !Py_IS_TYPE(parts[APPENDER], state->types.Appender) ||
        !Py_IS_TYPE(parts[TAIL], state->types.Tail) || !Py_IS_TYPE(parts[LOCK], state->types.Mutex) ||
        !has_mutex(state, parts[APPENDER])) {
        PyErr_SetString(PyExc_TypeError, "a file should be (turn, appender, lock, tail, numbers, epoch, rotates)");
        return -1;
    }
    file->appender = parts[APPENDER];
    file->lock = (Mutex *)parts[LOCK];
    file->tail = (Tail *)parts[TAIL];
    file->rotates = parts[ROTATES] == Py_True;
    file->epoch = PyLong_AsUnsignedLongLong(parts[EPOCH]);
    if (PyErr_Occurred() || PyObject_GetBuffer(file->tail->map, &file->map, PyBUF_WRITABLE) < 0)
        return -1;
    file->held = 1;
    if (PyObject_GetBuffer(parts[NUMBERS], &file->numbers, PyBUF_WRITABLE) < 0)
        return -1;
    file->held = 2;
    return is_segment(file->tail, &file->map, &file->numbers) ? 0 : -1;
}

static void
free_files(File *files, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; files != NULL && i < count; i++) {
        if (files[i].held > 1)
            PyBuffer_Release(&files[i].numbers);
        if (files[i].held > 0)
            PyBuffer_Release(&files[i].map);
    }
    PyMem_Free(files);
}

/* The maps stay mapped meanwhile: whoever gives one back leaves that to the end of the passes. */
static File *
read_files(const State *state, PyObject *from)
{
    Py_ssize_t count = PyTuple_GET_SIZE(from);
    File *files = PyMem_Calloc((size_t)count + 1, sizeof *files);
    if (files == NULL)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; files != NULL && i < count; i++)
        if (read_file(state, PyTuple_GET_ITEM(from, i), &files[i]) < 0) {
            free_files(files, count);
            return NULL;
        }
    return files;
}

static PyObject *
passes_make(PyObject *object, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    Passes *self = (Passes *)object;
    if (count != 4 || (names != NULL && PyTuple_GET_SIZE(names)) || !PyTuple_CheckExact(args[3])) {
        PyErr_SetString(PyExc_TypeError, "make(interval, count, patience, files)");
        return NULL;
    }
    double interval = PyFloat_AsDouble(args[0]), patience = PyFloat_AsDouble(args[2]);
    long left = PyLong_AsLong(args[1]);
    File *files = PyErr_Occurred() ? NULL : read_files(PyType_GetModuleState(type), args[3]);
    if (files == NULL)
        return NULL;
    int slow = -1, stopped = 0;
    long quiet = -1; /* passes since the last that wrote something */
    PyThreadState *thread = PyEval_SaveThread();
    while (left-- > 0) {
        int written = 0;
        stopped = PyThread_acquire_lock_timed(self->signal, (PY_TIMEOUT_T)(interval * 1e6), 0) == PY_LOCK_ACQUIRED;
        int more = !stopped && pass_over(self, files, PyTuple_GET_SIZE(args[3]), patience, &written, &slow, &thread);
        quiet = written ? 0 : quiet < 0 ? -1 : quiet + 1;
        if (!more)
            break;
    }
    PyEval_RestoreThread(thread);
    if (stopped)
        self->stopped = 0;
    free_files(files, PyTuple_GET_SIZE(args[3]));
    PyObject *turn = slow < 0 ? Py_None : PyTuple_GET_ITEM(PyTuple_GET_ITEM(args[3], slow), TURN);
    return Py_BuildValue("lO", quiet, turn);
}

static PyObject *
passes_stop(PyObject *object, PyObject *Py_UNUSED(none))
{
    Passes *self = (Passes *)object;
    if (!self->stopped) {
        self->stopped = 1;
        PyThread_release_lock(self->signal);
    }
    Py_RETURN_NONE;
}

static PyObject *
passes_allow(PyObject *object, PyObject *Py_UNUSED(none))
{
    Passes *self = (Passes *)object;
    if (self->stopped && PyThread_acquire_lock(self->signal, 0))
        self->stopped = 0;
    Py_RETURN_NONE;
}

static PyObject *
passes_under_way(PyObject *object, void *Py_UNUSED(closure))
{
    Passes *self = (Passes *)object;
    int current = self->current;
    double since = self->since;
    if (current < 0 || current != self->current)
        Py_RETURN_NONE;
    return Py_BuildValue("id", current, since);
}

static PyObject *
passes_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(keywords))
{
    Passes *self = (Passes *)type->tp_alloc(type, 0);
    if (self != NULL && (self->signal = PyThread_allocate_lock()) == NULL) {
        Py_CLEAR(self);
        PyErr_NoMemory();
    }
    if (self != NULL) {
        self->current = -1;
        PyThread_acquire_lock(self->signal, 1);
    }
    return (PyObject *)self;
}

static void
passes_dealloc(PyObject *object)
{
    Passes *self = (Passes *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->signal != NULL) {
        if (!self->stopped)
            PyThread_release_lock(self->signal);
        PyThread_free_lock(self->signal);
    }
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"make", _PyCFunction_CAST(passes_make), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "make(interval, count, patience, files): wait, up to count times, for interval seconds, and then append what waits for\n"
     "the files, each (turn, appender, lock, tail, numbers, epoch, rotates). Ends when it is told to stop, at what is not\n"
     "regular, and after a file that took longer than patience. Returns how many passes ago something was written, or -1,\n"
     "and the turn of that file or None."},
    {"stop", passes_stop, METH_NOARGS, "stop(): end the passes under way, or the next ones at once."},
    {"allow", passes_allow, METH_NOARGS, "allow(): take back a stop that came between the passes."},
    {0},
};

static PyGetSetDef properties[] = {
    {"under_way", passes_under_way, NULL, "Index of the file that is being written, and since when; or None.", NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Passes(): appends batches to files on a writing thread."},
    {Py_tp_new, passes_new},
    {Py_tp_dealloc, passes_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, NULL},
};

PyType_Spec Passes_spec = {
    .name = "metaexpert.logger.system._core.Passes",
    .basicsize = sizeof(Passes),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
#endif
