/* What the writing thread asks of the system, with the interpreter lock kept or given away as it suits the others.

   A thread that gives the lock away for a call of a microsecond waits up to five milliseconds until it has it again, and
   then stops the thread that works. So the calls that are over at once keep it (system.py says on which file systems);
   clearing memory, which takes the time of many page faults, gives it away. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <string.h>

#ifndef MS_WINDOWS
#include <sys/file.h>
#include <sys/stat.h>

static PyObject *
lock(PyObject *module, PyObject *fd)
{
    int number = (int)PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    if (flock(number, LOCK_EX | LOCK_NB) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *
unlock(PyObject *module, PyObject *fd)
{
    int number = (int)PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    if (flock(number, LOCK_UN) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *
status(PyObject *module, PyObject *fd)
{
    struct stat found;
    int number = (int)PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    if (fstat(number, &found) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
#ifdef __APPLE__
    double modified = (double)found.st_mtimespec.tv_sec + 1e-9 * (double)found.st_mtimespec.tv_nsec;
#else
    double modified = (double)found.st_mtim.tv_sec + 1e-9 * (double)found.st_mtim.tv_nsec;
#endif
    return Py_BuildValue("KKLKd", (unsigned long long)found.st_dev, (unsigned long long)found.st_ino,
                         (long long)found.st_size, (unsigned long long)found.st_nlink, modified);
}

static PyObject *
is_open_at(PyObject *module, PyObject *args)
{
    int fd;
    PyObject *path;
    struct stat open, named;
    if (!PyArg_ParseTuple(args, "iO&", &fd, PyUnicode_FSConverter, &path))
        return NULL;
    int missing = 0, failed = fstat(fd, &open) < 0;
    if (failed && errno == EBADF) { /* closed behind our back */
        missing = 1;
        failed = 0;
    }
    else if (!failed && stat(PyBytes_AS_STRING(path), &named) < 0) {
        missing = errno == ENOENT || errno == ENOTDIR;
        failed = !missing;
    }
    if (failed)
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, PyBytes_AS_STRING(path));
    Py_DECREF(path);
    if (failed)
        return NULL;
    return PyBool_FromLong(!missing && open.st_ino == named.st_ino && open.st_dev == named.st_dev);
}
#endif

static PyObject *
zero(PyObject *module, PyObject *args)
{
    Py_buffer buffer;
    Py_ssize_t start, end;
    if (!PyArg_ParseTuple(args, "w*nn", &buffer, &start, &end))
        return NULL;
    if (start < 0 || end > buffer.len || start > end) {
        PyBuffer_Release(&buffer);
        PyErr_SetString(PyExc_ValueError, "not a range of the buffer");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    memset((char *)buffer.buf + start, 0, (size_t)(end - start));
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
#ifndef MS_WINDOWS
    {"lock", lock, METH_O, "lock(fd): take the lock of a file, or raise OSError at once."},
    {"unlock", unlock, METH_O, "unlock(fd): give it back."},
    {"status", status, METH_O, "status(fd): return device, inode, size, links and time of modification."},
    {"is_open_at", is_open_at, METH_VARARGS, "is_open_at(fd, path): return whether the descriptor is the file there."},
#endif
    {"zero", zero, METH_VARARGS, "zero(buffer, start, end): write zeros, without the interpreter lock."},
    {NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "metaexpert.logger.system._calls",
    .m_doc = "The compiled form of metaexpert.logger.system.calls.",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__calls(void)
{
    return PyModule_Create(&module_definition);
}
