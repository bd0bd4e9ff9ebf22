/* Records: objects whose fields Python sets, in their order, by keyword or by attribute, and log calls read; what they
   read of a lane; and a count. */

#include "core.h"
#include <stddef.h>

typedef struct {
    PyObject_HEAD
    PyObject *fields[];
} Record;

static Py_ssize_t
size_of(PyObject *record)
{
    return (Py_TYPE(record)->tp_basicsize - (Py_ssize_t)sizeof(Record)) / (Py_ssize_t)sizeof(PyObject *);
}

static PyObject *
record_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *name, *value, *self = type->tp_alloc(type, 0);
    Py_ssize_t position = 0, given = PyTuple_GET_SIZE(args);
    if (self != NULL && given > size_of(self)) {
        PyErr_SetString(PyExc_TypeError, "more values than fields");
        Py_CLEAR(self);
    }
    for (Py_ssize_t i = 0; self != NULL && i < given; i++)
        ((Record *)self)->fields[i] = Py_NewRef(PyTuple_GET_ITEM(args, i));
    while (self != NULL && keywords != NULL && PyDict_Next(keywords, &position, &name, &value))
        if (PyObject_SetAttr(self, name, value) < 0)
            Py_CLEAR(self);
    return self;
}

static int
record_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t i = 0; i < size_of(self); i++)
        Py_VISIT(((Record *)self)->fields[i]);
    return 0;
}

static int
record_clear(PyObject *self)
{
    for (Py_ssize_t i = 0; i < size_of(self); i++)
        Py_CLEAR(((Record *)self)->fields[i]);
    return 0;
}

static void
record_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    record_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

#define FIELD(type, name) {#name, Py_T_OBJECT_EX, offsetof(type, name), 0, NULL}
#define RECORD(type, doc, ...) \
    static PyMemberDef type##_members[] = {__VA_ARGS__, {0}}; \
    static PyType_Slot type##_slots[] = { \
        {Py_tp_doc, doc}, {Py_tp_new, record_new}, {Py_tp_dealloc, record_dealloc}, \
        {Py_tp_traverse, record_traverse}, {Py_tp_clear, record_clear}, {Py_tp_members, type##_members}, {0, NULL}, \
    }; \
    PyType_Spec type##_spec = { \
        .name = "metaexpert.logger.system._core." #type, .basicsize = sizeof(type), .slots = type##_slots, \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, \
    }

RECORD(Route, "The route of one level's entries.", FIELD(Route, trade), FIELD(Route, head),
       FIELD(Route, lanes), FIELD(Route, numbers), FIELD(Route, count), FIELD(Route, check), FIELD(Route, after),
       FIELD(Route, lost), FIELD(Route, failed));
RECORD(BoundContext, "What a bound logger adds to its entries.", FIELD(BoundContext, before_fields),
       FIELD(BoundContext, alone), FIELD(BoundContext, names), FIELD(BoundContext, own_names),
       FIELD(BoundContext, trade), FIELD(BoundContext, generation));
RECORD(ContextFrame, "One entered block of log_context.", FIELD(ContextFrame, parent),
       FIELD(ContextFrame, fields), FIELD(ContextFrame, lifts), FIELD(ContextFrame, encoded),
       FIELD(ContextFrame, source), FIELD(ContextFrame, inside), FIELD(ContextFrame, over));

/* -- a lane: the base of `JournalLane` in `journal/lane.py` ---------------------------------------------------------- */

static int
lane_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Lane *)self)->write);
    return 0;
}

static int
lane_clear(PyObject *self)
{
    Py_CLEAR(((Lane *)self)->write);
    return 0;
}

static void
lane_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    lane_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef lane_members[] = {FIELD(Lane, write), {0}};

static PyType_Slot lane_slots[] = {
    {Py_tp_doc, "What log calls read of a lane."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, lane_dealloc},
    {Py_tp_traverse, lane_traverse},
    {Py_tp_clear, lane_clear},
    {Py_tp_members, lane_members},
    {0, NULL},
};

PyType_Spec Lane_spec = {
    .name = "metaexpert.logger.system._core.Lane",
    .basicsize = sizeof(Lane),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lane_slots,
};

/* -- a count: the counterpart of `Count` in `system/count.py` ----------------------------------------------------------- */

static PyObject *
count_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    unsigned long long start = 0;
    PyObject *self = PyArg_ParseTuple(args, "|K", &start) ? type->tp_alloc(type, 0) : NULL;
    if (self != NULL)
        ((Count *)self)->value = start;
    return self;
}

static void
count_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
count_next(PyObject *self)
{
    return PyLong_FromUnsignedLongLong(((Count *)self)->value++);
}

static PyObject *
count_give_back(PyObject *self, PyObject *number)
{
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (value == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    if (((Count *)self)->value == value + 1)
        ((Count *)self)->value = value;
    Py_RETURN_NONE;
}

static PyMethodDef count_methods[] = {
    {"give_back", count_give_back, METH_O, "give_back(number): let it be the next one again, if it was the last."},
    {0},
};

static PyMemberDef count_members[] = {
    {"value", Py_T_ULONGLONG, offsetof(Count, value), Py_READONLY, "The next number."},
    {0},
};

static PyType_Slot count_slots[] = {
    {Py_tp_doc, "Counts without a lock."},
    {Py_tp_new, count_new},
    {Py_tp_dealloc, count_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, count_next},
    {Py_tp_members, count_members},
    {Py_tp_methods, count_methods},
    {0, NULL},
};

PyType_Spec Count_spec = {
    .name = "metaexpert.logger.system._core.Count",
    .basicsize = sizeof(Count),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = count_slots,
};
