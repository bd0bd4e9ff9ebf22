/* Passes of the writing thread over files whose batches are all that is to be done: it waits, and appends what came
   meanwhile, without Python and without the interpreter lock. So nothing that it does stops a thread of the program, and
   no thread that computes keeps it waiting. `WritingThread` is the reference, and does whatever is not regular. */

#include "core.h"

#if HAS_APPENDER
/* The parts of a file, see `LogFile.regular`; and how often it may be rotated in one pass. */
enum { TURN, APPENDER, LOCK, TAIL, NUMBERS, EPOCH, ROTATES, PARTS, MOST_ROTATIONS = 8 };

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

/* Append what waits for a file, under its lock. Returns what became of it. Without the interpreter lock. */
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

/* What passes are made of, until they end. */
typedef struct {
    File *files;
    Py_ssize_t count;
    double end, patience;
    double written; /* when something was written last; 0 for never */
    PyThreadState *thread;
} Work;

/* Returns whether another pass may follow. Without the interpreter lock. */
static int
pass_over(Passes *self, Work *work)
{
    for (int i = 0; i < work->count; i++) {
        File *file = &work->files[i];
        if (!waits_alone(file->tail, &file->numbers, file->epoch))
            continue;
        double since = clock_now();
        self->since = since;
        self->current = i;
        int done = write_file(file, &work->thread);
        self->current = -1;
        double now = clock_now();
        if (done == APPEND_DONE)
            work->written = now;
        if (done != APPEND_DONE || now - since > work->patience || now > work->end)
            return 0;
    }
    return 1;
}

/* Make passes until one is the last. Returns whether they were told to stop. Without the interpreter lock. */
static int
make_all(Passes *self, Work *work, double interval)
{
    for (double left; (left = work->end - clock_now()) > 0;) {
        PY_TIMEOUT_T pause = (PY_TIMEOUT_T)((left < interval ? left : interval) * 1e6);
        if (PyThread_acquire_lock_timed(self->signal, pause, 0) == PY_LOCK_ACQUIRED)
            return 1;
        if (!pass_over(self, work))
            break;
    }
    return 0;
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
        PyErr_SetString(PyExc_TypeError, "make(interval, seconds, patience, files)");
        return NULL;
    }
    double interval = PyFloat_AsDouble(args[0]);
    Work work = {.end = clock_now() + PyFloat_AsDouble(args[1]), .patience = PyFloat_AsDouble(args[2])};
    PyObject *files = args[3];
    work.count = PyTuple_GET_SIZE(files);
    work.files = PyErr_Occurred() ? NULL : read_files(PyType_GetModuleState(type), files);
    if (work.files == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError))
            return NULL;
        PyErr_Clear(); /* a segment was given back meanwhile */
        Py_RETURN_NONE;
    }
    Py_INCREF(self);
    Py_INCREF(files);
    work.thread = PyEval_SaveThread();
    int stopped = make_all(self, &work, interval);
    PyEval_RestoreThread(work.thread);
    if (stopped)
        self->stopped = 0;
    free_files(work.files, work.count);
    Py_DECREF(files);
    Py_DECREF(self);
    return work.written ? PyFloat_FromDouble(clock_now() - work.written) : Py_NewRef(Py_None);
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
     "make(interval, seconds, patience, files): wait again and again for interval seconds, and then append what waits for\n"
     "the files, each (turn, appender, lock, tail, numbers, epoch, rotates). Ends after some seconds, when it is told to\n"
     "stop, at what is not regular, and after a file that took longer than patience. Returns how many seconds ago something\n"
     "was written; None if nothing was."},
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
