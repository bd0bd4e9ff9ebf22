/* The module and its state. Initialised in several phases, with all that it keeps in its state, so that each
   interpreter has a module of its own. */

#include "core.h"

static PyObject *
begin_generation(PyObject *module, PyObject *generation)
{
    State *state = PyModule_GetState(module);
    Py_XSETREF(state->generation, Py_NewRef(generation));
    Py_RETURN_NONE;
}

static PyObject *
on_error(PyObject *module, PyObject *function)
{
    State *state = PyModule_GetState(module);
    Py_XSETREF(state->injected, Py_NewRef(function));
    Py_RETURN_NONE;
}

static PyObject *
on_generators(PyObject *module, PyObject *args)
{
    State *state = PyModule_GetState(module);
    PyObject *own_blocks, *active_in;
    if (!PyArg_ParseTuple(args, "O!O", &PyDict_Type, &own_blocks, &active_in))
        return NULL;
    Py_XSETREF(state->own_blocks, Py_NewRef(own_blocks));
    Py_XSETREF(state->active_in, Py_NewRef(active_in));
    Py_RETURN_NONE;
}

/* In a subinterpreter nothing is done: Python would end it. */
static PyObject *
after_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing))
{
#ifndef MS_WINDOWS
    if (PyInterpreterState_Get() == PyInterpreterState_Main())
        PyOS_AfterFork_Child();
#endif
    Py_RETURN_NONE;
}

static int
call_now(void *callable)
{
    PyObject *result = PyObject_CallNoArgs(callable);
    if (result == NULL)
        PyErr_WriteUnraisable(callable); /* the code of the program that is interrupted has no part in it */
    Py_XDECREF(result);
    Py_DECREF((PyObject *)callable);
    return 0;
}

/* At once where Python cannot: too many calls wait, or the callable is of a subinterpreter. */
static PyObject *
call_soon(PyObject *Py_UNUSED(module), PyObject *callable)
{
    Py_INCREF(callable);
    if (PyInterpreterState_Get() != PyInterpreterState_Main() || Py_AddPendingCall(call_now, callable) < 0)
        call_now(callable);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"on_generators", on_generators, METH_VARARGS,
     "on_generators(own_blocks, active_in): while there are own_blocks, ask active_in for the context frame."},
    {"after_fork", after_fork, METH_NOARGS, "after_fork(): tell Python that this process is a forked child."},
    {"call_soon", call_soon, METH_O, "call_soon(callable): call it in the main thread between two of its instructions."},
    {"on_error", on_error, METH_O, "on_error(function): ask it whether an error belongs to the program."},
    {"begin_generation", begin_generation, METH_O,
     "begin_generation(generation): have bound contexts of another generation of the registered secrets renewed."},
    {0},
};

static int
fill_module(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->append_keywords = Py_BuildValue("(s)", "reserve");
    state->alert = PyUnicode_InternFromString("alert");
    state->patience = PyFloat_FromDouble(1.0);
    if (state->append_keywords == NULL || state->alert == NULL || state->patience == NULL)
        return -1;
#define INTERN(name) \
    if ((state->names.name = PyUnicode_InternFromString(#name)) == NULL) \
        return -1;
    FOR_EACH_NAME(INTERN)
#define ADD(name) \
    state->types.name = (PyTypeObject *)PyType_FromModuleAndSpec(module, &name##_spec, NULL); \
    if (state->types.name == NULL || PyModule_AddType(module, state->types.name) < 0) \
        return -1;
    FOR_EACH_TYPE(ADD)
    PyMethodDef *functions[] = {deliver_functions, file_functions,  listing_functions, rotate_functions,  signal_functions,
                                scan_functions,    tally_functions, header_functions,  project_functions, stretch_functions};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (PyModule_AddFunctions(module, functions[i]) < 0)
            return -1;
    return mark_process();
}

static int
traverse_module(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
#define VISIT(name) Py_VISIT(state->types.name);
    FOR_EACH_TYPE(VISIT)
    Py_VISIT(state->generation);
    Py_VISIT(state->injected);
    Py_VISIT(state->own_blocks);
    Py_VISIT(state->active_in);
    return 0;
}

/* There is no clear function: methods read the state until they go, and every cycle through it leads through Python
   objects, which the collector can clear. */
static void
free_module(void *module)
{
    State *state = PyModule_GetState(module);
#define FREE_TYPE(name) Py_CLEAR(state->types.name);
    FOR_EACH_TYPE(FREE_TYPE)
    Py_CLEAR(state->generation);
    Py_CLEAR(state->injected);
    Py_CLEAR(state->own_blocks);
    Py_CLEAR(state->active_in);
    Py_CLEAR(state->append_keywords);
    Py_CLEAR(state->patience);
    Py_CLEAR(state->alert);
#define FREE(name) Py_CLEAR(state->names.name);
    FOR_EACH_NAME(FREE)
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
