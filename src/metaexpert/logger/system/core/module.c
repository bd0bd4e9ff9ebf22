/* The module: its state, and the Python classes whose slots it reads. Initialised in several phases, with all that it
   keeps in its state, so that each interpreter has a module of its own. */

#include "core.h"

static int
find_slot(PyObject *type, const char *name, Py_ssize_t *offset)
{
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL)
        return -1;
    int found = Py_IS_TYPE(descriptor, &PyMemberDescr_Type) &&
                ((PyMemberDescrObject *)descriptor)->d_member->type == Py_T_OBJECT_EX;
    if (found)
        *offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%s is not a slot", name);
    Py_DECREF(descriptor);
    return found ? 0 : -1;
}

static PyObject *
read_slots(PyObject *module, PyObject *args)
{
    State *state = PyModule_GetState(module);
    PyObject *route, *context, *frame;
    if (!PyArg_ParseTuple(args, "O!O!O!", &PyType_Type, &route, &PyType_Type, &context, &PyType_Type, &frame))
        return NULL;
#define FIND(class, name) \
    if (find_slot(class, #name, &state->class##_##name) < 0) \
        return NULL;
    FOR_EACH_SLOT(FIND)
    Py_XSETREF(state->route, (PyTypeObject *)Py_NewRef(route));
    Py_XSETREF(state->context, (PyTypeObject *)Py_NewRef(context));
    Py_XSETREF(state->frame, (PyTypeObject *)Py_NewRef(frame));
    Py_RETURN_NONE;
}

static PyObject *
begin_generation(PyObject *module, PyObject *generation)
{
    State *state = PyModule_GetState(module);
    Py_XSETREF(state->generation, Py_NewRef(generation));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"read_slots", read_slots, METH_VARARGS,
     "read_slots(route, context, frame): find the slots of the classes that log methods read."},
    {"begin_generation", begin_generation, METH_O,
     "begin_generation(generation): take bound contexts of that generation of the registered secrets alone."},
    {0},
};

static int
fill_module(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->bound_context_name = PyUnicode_InternFromString("_bound_context");
    state->write_name = PyUnicode_InternFromString("write");
    state->append_name = PyUnicode_InternFromString("append");
    state->append_keywords = Py_BuildValue("(s)", "reserve");
    if (!state->bound_context_name || !state->write_name || !state->append_name || !state->append_keywords)
        return -1;
    PyObject *method = PyType_FromModuleAndSpec(module, &method_spec, NULL);
    int result = method == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)method);
    Py_XDECREF(method);
    PyMethodDef *others[] = {file_functions, scan_functions, tally_functions};
    for (size_t i = 0; result == 0 && i < sizeof others / sizeof *others; i++)
        result = PyModule_AddFunctions(module, others[i]);
    return result;
}

static int
traverse_module(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->route);
    Py_VISIT(state->context);
    Py_VISIT(state->frame);
    Py_VISIT(state->generation);
    return 0;
}

/* There is no clear function: methods read the state until they go, and every cycle through it leads through Python
   classes, which the collector can clear. */
static void
free_module(void *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->route);
    Py_CLEAR(state->context);
    Py_CLEAR(state->frame);
    Py_CLEAR(state->generation);
    Py_CLEAR(state->bound_context_name);
    Py_CLEAR(state->write_name);
    Py_CLEAR(state->append_name);
    Py_CLEAR(state->append_keywords);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, fill_module},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "metaexpert.logger.system._core",
    .m_doc = "The compiled part of metaexpert.logger.",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = module_slots,
    .m_traverse = traverse_module,
    .m_free = free_module,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
