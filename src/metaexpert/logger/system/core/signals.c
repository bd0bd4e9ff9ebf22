/* Signals put off for a moment, so that no handler of the program runs in the middle of our work. Python's own
   function takes a hundred times as long, since it makes an enumeration of each mask. */

#include "core.h"
#ifndef MS_WINDOWS
#include <errno.h>
#include <signal.h>

/* The mask is handed over by way of a list: a signal that another thread received may raise in the moment in which a
   result would be on its way to a variable of the caller, and the signals would be put off for ever. */
static PyObject *
put_off(PyObject *Py_UNUSED(module), PyObject *masks)
{
    static const int FAULTS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t all, before;
    if (!PyList_CheckExact(masks))
        return PyErr_Format(PyExc_TypeError, "put_off takes a list");
    if ((errno = pthread_sigmask(SIG_SETMASK, NULL, &before)) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *mask = PyBytes_FromStringAndSize((char *)&before, sizeof before);
    int kept = mask == NULL ? -1 : PyList_Append(masks, mask);
    Py_XDECREF(mask);
    if (kept < 0)
        return NULL;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++)
        sigdelset(&all, FAULTS[i]); /* a thread does this to itself, and cannot put it off */
    if ((errno = pthread_sigmask(SIG_BLOCK, &all, NULL)) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    /* Those that came just before are handled before our work begins. */
    return PyErr_CheckSignals() == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
put_back(PyObject *Py_UNUSED(module), PyObject *before)
{
    if (!PyBytes_CheckExact(before) || PyBytes_GET_SIZE(before) != sizeof(sigset_t)) {
        PyErr_SetString(PyExc_TypeError, "put_back takes a mask of put_off");
        return NULL;
    }
    if ((errno = pthread_sigmask(SIG_SETMASK, (sigset_t *)PyBytes_AS_STRING(before), NULL)) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyErr_CheckSignals() == 0 ? Py_NewRef(Py_None) : NULL;
}
#endif

PyMethodDef signal_functions[] = {
#ifndef MS_WINDOWS
    {"put_off", put_off, METH_O, "put_off(masks): put the signals of this thread off, and add the mask before to a list."},
    {"put_back", put_back, METH_O, "put_back(mask): put the mask back, and run the handlers of what came meanwhile."},
#endif
    {0},
};
