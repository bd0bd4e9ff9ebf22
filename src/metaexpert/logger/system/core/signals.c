/* Signals put off for a moment, so that no handler of the program runs in the middle of our work. Python's own
   function takes a hundred times as long, since it makes an enumeration of each mask. */

#include "core.h"
#ifndef MS_WINDOWS
#include <errno.h>
#include <signal.h>

static PyObject *
put_off(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    static const int FAULTS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++)
        sigdelset(&all, FAULTS[i]); /* a thread does this to itself, and cannot put it off */
    if ((errno = pthread_sigmask(SIG_BLOCK, &all, &before)) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *kept = NULL;
    if (PyErr_CheckSignals() == 0) /* those that came just before are handled before our work begins */
        kept = PyBytes_FromStringAndSize((char *)&before, sizeof before);
    if (kept == NULL)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    return kept;
}

static PyObject *
put_back(PyObject *Py_UNUSED(module), PyObject *before)
{
    if (!PyBytes_CheckExact(before) || PyBytes_GET_SIZE(before) != sizeof(sigset_t)) {
        PyErr_SetString(PyExc_TypeError, "put_back takes what put_off has returned");
        return NULL;
    }
    if ((errno = pthread_sigmask(SIG_SETMASK, (sigset_t *)PyBytes_AS_STRING(before), NULL)) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyErr_CheckSignals() == 0 ? Py_NewRef(Py_None) : NULL;
}
#endif

PyMethodDef signal_functions[] = {
#ifndef MS_WINDOWS
    {"put_off", put_off, METH_NOARGS, "put_off(): put the signals of this thread off, and return the mask before."},
    {"put_back", put_back, METH_O, "put_back(mask): put the mask back, and run the handlers of what came meanwhile."},
#endif
    {0},
};
