/* The end of a mapped segment, where log calls add their lines: `write`, `seek` and `tell` of its map.

   The memory is held as a buffer from a `seek` into it until one to its end, which seals the segment.

   A map is shared with forked children, and a child must not write into it. Python tells of its own forks, but a library
   may call fork() itself. So a number marks the process: a child finds zero instead, and no tail takes lines until it has
   been opened there. */

#include "core.h"
#include <string.h>

#ifndef MS_WINDOWS
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

static volatile uint32_t own_mark, *process_mark = &own_mark;
static uint32_t last_mark;

#ifndef MS_WINDOWS
static void
unmark_process(void)
{
    *process_mark = 0;
}
#endif

/* The mark lies in a page that Linux clears in a child, also in one that the C library knows nothing of. Elsewhere the
   library's fork() clears it. Never undone: forks of the process outlive an interpreter. */
int
mark_process(void)
{
#ifndef MS_WINDOWS
    if (process_mark != &own_mark)
        return 0;
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || pthread_atfork(NULL, NULL, unmark_process) != 0) {
        PyErr_NoMemory();
        return -1;
    }
#ifdef MADV_WIPEONFORK
    (void)!madvise(page, size, MADV_WIPEONFORK); /* an old kernel has only the handler */
#endif
    process_mark = page;
#endif
    return 0;
}

static PyObject *
tail_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *map;
    Py_ssize_t size = PyArg_ParseTuple(args, "O", &map) ? PyObject_Size(map) : -1;
    Tail *self = size < 0 ? NULL : (Tail *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->map = Py_NewRef(map);
        self->position = self->whole = self->size = size;
    }
    return (PyObject *)self;
}

static void
tail_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyBuffer_Release(&((Tail *)object)->memory);
    Py_XDECREF(((Tail *)object)->map);
    type->tp_free(object);
    Py_DECREF(type);
}

char *
claim(Tail *self, Py_ssize_t length)
{
    if (self->size - self->position < length || self->process != *process_mark)
        return NULL;
    self->position += length;
    return (char *)self->memory.buf + self->position - length;
}

static PyObject *
tail_write(PyObject *self, PyObject *line)
{
    if (!PyBytes_CheckExact(line))
        return PyErr_Format(PyExc_TypeError, "a line should be bytes");
    char *to = claim((Tail *)self, PyBytes_GET_SIZE(line));
    if (to == NULL)
        return PyErr_Format(PyExc_ValueError, "the segment is full");
    memcpy(to, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line));
    PUBLISH((Tail *)self);
    Py_RETURN_NONE;
}

static PyObject *
tail_seek(PyObject *object, PyObject *position)
{
    Tail *self = (Tail *)object;
    Py_ssize_t wanted = PyLong_AsSsize_t(position);
    if (wanted < 0 || wanted > self->size)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "outside of the segment");
    self->position = self->size; /* sealed, whatever comes */
    PUBLISH(self);
    if (wanted == self->size)
        PyBuffer_Release(&self->memory);
    else if (self->memory.obj == NULL && PyObject_GetBuffer(self->map, &self->memory, PyBUF_WRITABLE) < 0)
        return NULL;
    else {
        if (*process_mark == 0)
            *process_mark = ++last_mark;
        self->process = *process_mark;
        self->position = wanted;
        PUBLISH(self);
    }
    Py_RETURN_NONE;
}

static PyObject *
tail_tell(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    return PyLong_FromSsize_t(((Tail *)self)->position);
}

static PyMethodDef methods[] = {
    {"write", tail_write, METH_O, "write(line): add a line; ValueError when it does not fit."},
    {"seek", tail_seek, METH_O, "seek(position): add the next line there; at the end, none fits."},
    {"tell", tail_tell, METH_NOARGS, "tell(): return where the next line goes."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "The end of a mapped segment, where log calls add their lines."},
    {Py_tp_new, tail_new},
    {Py_tp_dealloc, tail_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec Tail_spec = {
    .name = "metaexpert.logger.system._core.Tail",
    .basicsize = sizeof(Tail),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
