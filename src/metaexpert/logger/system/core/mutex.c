/* A re-entrant lock, as `threading.RLock` is one, that a thread can also take without the interpreter lock. */

#include "core.h"

#if HAS_APPENDER
#include <time.h>

/* The clock of `time.monotonic`, in seconds. */
double
clock_now(void)
{
    struct timespec now;
#ifdef __APPLE__
    clock_gettime(CLOCK_UPTIME_RAW, &now);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Returns whether it was the caller's already, and is once more. */
static int
take_again(Mutex *self, unsigned long thread)
{
    if (__atomic_load_n(&self->owner, __ATOMIC_RELAXED) != thread)
        return 0;
    self->depth++;
    return 1;
}

static void
own(Mutex *self, unsigned long thread)
{
    __atomic_store_n(&self->owner, thread, __ATOMIC_RELAXED);
    self->depth = 1;
}

int
take_mutex(Mutex *self, long long timeout)
{
    unsigned long thread = PyThread_get_thread_ident();
    if (take_again(self, thread))
        return 1;
    if (PyThread_acquire_lock_timed(self->lock, timeout, 0) != PY_LOCK_ACQUIRED)
        return 0;
    own(self, thread);
    return 1;
}

void
give_mutex(Mutex *self)
{
    if (--self->depth)
        return;
    __atomic_store_n(&self->owner, 0, __ATOMIC_RELAXED);
    PyThread_release_lock(self->lock);
}

/* Wait for the lock until a time, or for ever if it is negative. Signal handlers run meanwhile. Returns whether it was had;
   -1 with an exception of theirs. */
static int
await(Mutex *self, double deadline)
{
    for (;;) {
        double left = deadline < 0 ? -1 : deadline - clock_now();
        PyLockStatus status;
        Py_BEGIN_ALLOW_THREADS
        status = PyThread_acquire_lock_timed(self->lock, deadline < 0 ? -1 : left > 0 ? (PY_TIMEOUT_T)(left * 1e6) : 0, 1);
        Py_END_ALLOW_THREADS
        if (status != PY_LOCK_INTR)
            return status == PY_LOCK_ACQUIRED;
        if (Py_MakePendingCalls() < 0)
            return -1;
    }
}

static PyObject *
mutex_acquire(PyObject *object, PyObject *args, PyObject *keywords)
{
    Mutex *self = (Mutex *)object;
    static char *names[] = {"blocking", "timeout", NULL};
    int blocking = 1, got;
    double timeout = -1;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|pd", names, &blocking, &timeout))
        return NULL;
    if (timeout > 1e6 || timeout != timeout)
        return PyErr_Format(PyExc_OverflowError, "timeout value is too large");
    unsigned long thread = PyThread_get_thread_ident();
    if (take_again(self, thread))
        Py_RETURN_TRUE;
    got = PyThread_acquire_lock(self->lock, 0);
    if (!got && blocking)
        got = await(self, timeout < 0 ? -1 : clock_now() + timeout);
    if (got > 0)
        own(self, thread);
    return got < 0 ? NULL : PyBool_FromLong(got);
}

static PyObject *
mutex_release(PyObject *object, PyObject *Py_UNUSED(none))
{
    Mutex *self = (Mutex *)object;
    if (__atomic_load_n(&self->owner, __ATOMIC_RELAXED) != PyThread_get_thread_ident())
        return PyErr_Format(PyExc_RuntimeError, "cannot release un-acquired lock");
    give_mutex(self);
    Py_RETURN_NONE;
}

static PyObject *
mutex_enter(PyObject *object, PyObject *Py_UNUSED(nothing))
{
    PyObject *none = PyTuple_New(0), *got = none == NULL ? NULL : mutex_acquire(object, none, NULL);
    Py_XDECREF(none);
    return got;
}

static PyObject *
mutex_exit(PyObject *object, PyObject *Py_UNUSED(error))
{
    return mutex_release(object, NULL);
}

static PyObject *
mutex_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(keywords))
{
    Mutex *self = (Mutex *)type->tp_alloc(type, 0);
    if (self != NULL && (self->lock = PyThread_allocate_lock()) == NULL) {
        Py_CLEAR(self);
        PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void
mutex_dealloc(PyObject *object)
{
    Mutex *self = (Mutex *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->lock != NULL) {
        if (self->depth) /* its holder is gone, as after a fork */
            PyThread_release_lock(self->lock);
        PyThread_free_lock(self->lock);
    }
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"acquire", _PyCFunction_CAST(mutex_acquire), METH_VARARGS | METH_KEYWORDS,
     "acquire(blocking=True, timeout=-1): take the lock; return whether it was had."},
    {"release", mutex_release, METH_NOARGS, "release(): give it back, once for each time that it was taken."},
    {"__enter__", mutex_enter, METH_NOARGS, "Take the lock."},
    {"__exit__", mutex_exit, METH_VARARGS, "Give it back."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A re-entrant lock that can also be taken without the interpreter lock."},
    {Py_tp_new, mutex_new},
    {Py_tp_dealloc, mutex_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec Mutex_spec = {
    .name = "metaexpert.logger.system._core.Mutex",
    .basicsize = sizeof(Mutex),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
#endif
