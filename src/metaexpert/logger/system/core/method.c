/* The type of a log method: what it holds, and how it stands in a class of bound loggers. */

#include "core.h"
#include <stddef.h>

/* What a method owns besides its attributes. A call reads it, so it stays until the method goes: a finalizer may log
   after the collector has begun to take its logger apart. */
#define FOR_EACH_HELD(DO) \
    DO(module) DO(plain) DO(route) DO(other) DO(messages) DO(current_frame) DO(foreign) DO(context_in) DO(new_second) \
    DO(now) DO(texts) DO(line_start)

static PyObject *
method_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"plain",      "route", "other",  "messages", "current_frame", "foreign", "context_in",
                            "new_second", "now",   "screen", "texts",    "limit",         NULL};
    PyObject *plain, *route, *other, *messages, *current_frame, *foreign, *context_in, *new_second, *now, *screen, *texts;
    Py_ssize_t limit;
    State *state = PyType_GetModuleState(type);
    if (state->route_type == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "read_slots() was not called");
        return NULL;
    }
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO!O!O!O!O!OOOO!O!n", names, &plain, state->route_type, &route,
                                     state->route_type, &other, &PyDict_Type, &messages, &PyContextVar_Type,
                                     &current_frame, &PyDict_Type, &foreign, &context_in, &new_second, &now,
                                     &PyByteArray_Type, &screen, &PyDict_Type, &texts, &limit))
        return NULL;
    if (PyByteArray_GET_SIZE(screen) != SCREEN_SIZE) {
        PyErr_SetString(PyExc_ValueError, "not a screen of this layout");
        return NULL;
    }
    Method *self = (Method *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = log_call;
    self->state = state;
    self->module = Py_NewRef(PyType_GetModule(type));
    self->plain = Py_NewRef(plain);
    self->route = Py_NewRef(route);
    self->other = Py_NewRef(other);
    self->messages = Py_NewRef(messages);
    self->current_frame = Py_NewRef(current_frame);
    self->foreign = Py_NewRef(foreign);
    self->context_in = Py_NewRef(context_in);
    self->new_second = Py_NewRef(new_second);
    self->now = now == Py_None ? NULL : Py_NewRef(now);
    self->texts = Py_NewRef(texts);
    self->limit = limit;
    if (PyObject_GetBuffer(screen, &self->screen, PyBUF_SIMPLE) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int
method_traverse(PyObject *object, visitproc visit, void *arg)
{
    Method *self = (Method *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->dict);
    Py_VISIT(self->screen.obj);
#define VISIT(name) Py_VISIT(self->name);
    FOR_EACH_HELD(VISIT)
    return 0;
}

static int
method_clear(PyObject *object)
{
    Py_CLEAR(((Method *)object)->dict);
    return 0;
}

static void
method_dealloc(PyObject *object)
{
    Method *self = (Method *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_CLEAR(self->dict);
    PyBuffer_Release(&self->screen);
#define CLEAR(name) Py_CLEAR(self->name);
    FOR_EACH_HELD(CLEAR)
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *
method_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type))
{
    return object == NULL || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

static PyMemberDef members[] = {
    {"__wrapped__", Py_T_OBJECT_EX, offsetof(Method, plain), Py_READONLY, "The Python function."},
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(Method, vectorcall), Py_READONLY, NULL},
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(Method, dict), Py_READONLY, NULL},
    {0},
};

static PyGetSetDef attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A log method of one level."},
    {Py_tp_new, method_new},
    {Py_tp_dealloc, method_dealloc},
    {Py_tp_traverse, method_traverse},
    {Py_tp_clear, method_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, method_get},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {0, NULL},
};

PyType_Spec method_spec = {
    .name = "metaexpert.logger.system._core.Method",
    .basicsize = sizeof(Method),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
