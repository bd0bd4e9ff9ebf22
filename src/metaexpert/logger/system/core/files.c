/* The system calls of the writing thread; the counterpart of `calls.py`.

   A thread that releases the interpreter lock for a call of a microsecond waits up to five milliseconds to get it back,
   and then stops the thread that works. So calls that return at once keep the lock (calls.py says on which file
   systems). Clearing memory takes as long as many page faults, and releases it. */

#include "core.h"
#include <errno.h>
#include <string.h>

#ifndef MS_WINDOWS
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Do *operation* with the lock of the file at *fd*. Never waits. */
static PyObject *
change_lock(PyObject *fd, int operation)
{
    int number = (int)PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    if (flock(number, operation) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *
lock(PyObject *Py_UNUSED(module), PyObject *fd)
{
    return change_lock(fd, LOCK_EX | LOCK_NB);
}

static PyObject *
unlock(PyObject *Py_UNUSED(module), PyObject *fd)
{
    return change_lock(fd, LOCK_UN);
}

static PyObject *
status(PyObject *Py_UNUSED(module), PyObject *fd)
{
    struct stat found;
    int number = (int)PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    if (fstat(number, &found) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    struct timespec modified = MODIFIED(found);
    return Py_BuildValue("KKLKd", (unsigned long long)found.st_dev, (unsigned long long)found.st_ino,
                         (long long)found.st_size, (unsigned long long)found.st_nlink,
                         (double)modified.tv_sec + 1e-9 * (double)modified.tv_nsec);
}

static PyObject *
is_open_at(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    PyObject *path;
    struct stat open, named;
    if (!PyArg_ParseTuple(args, "iO&", &fd, PyUnicode_FSConverter, &path))
        return NULL;
    int missing = 0, failed = 0;
    if (fstat(fd, &open) < 0) {
        missing = errno == EBADF; /* someone else closed it */
        failed = !missing;
    }
    else if (stat(PyBytes_AS_STRING(path), &named) < 0) {
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

/* The lock is kept from the look to the end: another thread could open something under the number in between. */
static PyObject *
close_same(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    unsigned long long device, inode;
    struct stat found;
    if (!PyArg_ParseTuple(args, "iKK", &fd, &device, &inode))
        return NULL;
    if (fstat(fd, &found) < 0 || (unsigned long long)found.st_dev != device || (unsigned long long)found.st_ino != inode)
        Py_RETURN_FALSE;
    if (close(fd) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_TRUE;
}
#endif

static PyObject *
zero(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer buffer;
    Py_ssize_t start, end;
    if (!PyArg_ParseTuple(args, "w*nn", &buffer, &start, &end))
        return NULL;
    int inside = 0 <= start && start <= end && end <= buffer.len;
    if (inside) {
        Py_BEGIN_ALLOW_THREADS
        memset((char *)buffer.buf + start, 0, (size_t)(end - start));
        Py_END_ALLOW_THREADS
    }
    else
        PyErr_SetString(PyExc_ValueError, "not a range of the buffer");
    PyBuffer_Release(&buffer);
    return inside ? Py_NewRef(Py_None) : NULL;
}

PyMethodDef file_functions[] = {
#ifndef MS_WINDOWS
    {"lock", lock, METH_O, "lock(fd): take the lock of a file, or raise OSError at once."},
    {"unlock", unlock, METH_O, "unlock(fd): release it."},
    {"status", status, METH_O, "status(fd): return device, inode, size, links and time of modification."},
    {"is_open_at", is_open_at, METH_VARARGS, "is_open_at(fd, path): return whether the descriptor is the file there."},
    {"close_same", close_same, METH_VARARGS, "close_same(fd, device, inode): close that file; return whether it was it."},
#endif
    {"zero", zero, METH_VARARGS, "zero(buffer, start, end): write zeros, without the interpreter lock."},
    {0},
};
