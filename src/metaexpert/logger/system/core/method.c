/* The type of a log method: what it holds, and how it stands in a class of bound loggers. */

#include "core.h"
#include <stddef.h>

/* What a method owns besides its attributes. A call reads it, so it stays until the method goes, and there is no
   tp_clear: a finalizer may log after the collector has begun to take its logger apart. */
#define FOR_EACH_HELD(DO) \
    DO(module) DO(plain) DO(current_frame) DO(route) DO(other) DO(encoder) DO(messages) DO(keys) DO(words) DO(texts) \
    DO(dumps) DO(foreign) DO(new_second) DO(now) DO(line_start)

/* Method(plain, current_frame, route, …) is a method that works; with these three arguments alone, one that is off. */
static PyObject *
method_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    State *state = PyType_GetModuleState(type);
    Method *self = state == NULL ? NULL : (Method *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    PyObject *screen = NULL;
    int parsed = PyArg_ParseTuple(
        args, "OO!O!|O!OO!O!OO!OO!OOO!n", &self->plain, &PyContextVar_Type, &self->current_frame, state->types.Route,
        &self->route, state->types.Route, &self->other, &self->encoder, &PyDict_Type, &self->messages, &PyDict_Type,
        &self->keys, &self->words, &PyDict_Type, &self->texts, &self->dumps, &PyDict_Type, &self->foreign,
        &self->new_second, &self->now, &PyByteArray_Type, &screen, &self->limit);
    self->vectorcall = self->other == NULL ? disabled_call : log_call;
    self->state = state;
    self->module = PyType_GetModule(type);
    /* Borrowed until here, and owned also where the arguments are wrong: then the method is destroyed. */
#define OWN(name) Py_XINCREF(self->name);
    FOR_EACH_HELD(OWN)
    if (!parsed || (screen != NULL && PyObject_GetBuffer(screen, &self->screen, PyBUF_SIMPLE) < 0))
        Py_CLEAR(self);
    else if (self->other != NULL && self->screen.len != SCREEN_SIZE) {
        PyErr_SetString(PyExc_ValueError, "not a screen of this layout");
        Py_CLEAR(self);
    }
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
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, method_get},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {0, NULL},
};

PyType_Spec Method_spec = {
    .name = "metaexpert.logger.system._core.Method",
    .basicsize = sizeof(Method),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
