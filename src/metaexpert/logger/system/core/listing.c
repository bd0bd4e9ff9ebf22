/* The names in a directory, in one call without the interpreter lock.

   Python gives the lock away at each name, and at the end closes whatever has the number of its descriptor by then: a
   program that closes all numbers, as daemons do, and takes them for files of its own lost one of those. Here the number
   is looked at before it is closed, and no other thread has its turn in between. */

#include "core.h"

#ifndef MS_WINDOWS
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { TRIES = 4 };

static int
add_name(Names *names, const struct dirent *entry)
{
    uint64_t inode = entry->d_ino;
    size_t length = strlen(entry->d_name) + 1, needed = names->size + sizeof inode + length;
    if (needed > names->room) {
        size_t room = 2 * needed + 4096;
        char *grown = realloc(names->text, room);
        if (grown == NULL)
            return -1;
        names->text = grown;
        names->room = room;
    }
    memcpy(names->text + names->size, &inode, sizeof inode);
    memcpy(names->text + names->size + sizeof inode, entry->d_name, length);
    names->size = needed;
    names->count++;
    return 0;
}

const char *
next_name(const Names *names, size_t *at, uint64_t *inode)
{
    if (*at == names->size)
        return NULL;
    const char *name = names->text + *at + sizeof *inode;
    memcpy(inode, names->text + *at, sizeof *inode);
    *at += sizeof *inode + strlen(name) + 1;
    return name;
}

static int
is_wanted(DIR *directory, const struct dirent *entry, int only_files)
{
    struct stat found;
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
        return 0;
    if (!only_files || entry->d_type == DT_REG)
        return 1;
    return (entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) &&
           fstatat(dirfd(directory), entry->d_name, &found, 0) == 0 && S_ISREG(found.st_mode);
}

static int
is_ours(const Names *names)
{
    struct stat now;
    return fstat(dirfd(names->stream), &now) == 0 && now.st_ino == names->inode && (uint64_t)now.st_dev == names->device;
}

/* Return 0, or -1 with errno. *whole* tells whether the directory itself was among the names, as it is on most systems. */
static int
read_all(int only_files, Names *names, int *whole)
{
    struct dirent *entry;
    int done = 0;
    names->size = names->count = 0;
    *whole = 0;
    while (done == 0 && (errno = 0, (entry = readdir(names->stream)) != NULL)) {
        *whole |= !strcmp(entry->d_name, ".");
        if (is_wanted(names->stream, entry, only_files))
            done = add_name(names, entry);
    }
    return done < 0 || errno ? -1 : 0;
}

/* Return 1 if somebody took the descriptor away meanwhile. Then the names are worth nothing, and the stream is left alone:
   its memory cannot be freed without closing its number. */
static int
list_once(const char *path, int only_files, Names *names)
{
    struct stat named; /* by name: right after it was opened, the number may be another's */
    int whole;
    names->stream = stat(path, &named) < 0 ? NULL : opendir(path);
    if (names->stream == NULL)
        return -1;
    names->inode = named.st_ino;
    names->device = (uint64_t)named.st_dev;
    int done = read_all(only_files, names, &whole);
    if (done == 0 && !whole && is_ours(names)) { /* another of our threads, which lost this number before, read it */
        rewinddir(names->stream);
        done = read_all(only_files, names, &whole);
    }
    int error = errno;
    if (!is_ours(names))
        return 1;
    errno = error;
    return done;
}

int
list_names(const char *path, int only_files, Names *names)
{
    for (int tries = 0; tries < TRIES; tries++) {
        int done = list_once(path, only_files, names);
        if (done <= 0)
            return done;
    }
    errno = EBADF;
    return -1;
}

void
free_names(Names *names)
{
    int error = errno;
    if (names->stream != NULL && is_ours(names))
        closedir(names->stream);
    free(names->text);
    *names = (Names){0};
    errno = error;
}

static PyObject *
names_of(const Names *found)
{
    uint64_t inode;
    const char *name;
    PyObject *names = PyList_New(0);
    for (size_t at = 0; names != NULL && (name = next_name(found, &at, &inode)) != NULL;) {
        PyObject *text = PyUnicode_DecodeFSDefault(name);
        if (text == NULL || PyList_Append(names, text) < 0)
            Py_CLEAR(names);
        Py_XDECREF(text);
    }
    return names;
}

static PyObject *
list(PyObject *directory, int only_files)
{
    PyObject *path, *found = NULL;
    Names listed = {0};
    int done;
    if (!PyUnicode_FSConverter(directory, &path))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    done = list_names(PyBytes_AS_STRING(path), only_files, &listed);
    Py_END_ALLOW_THREADS
    if (done < 0)
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, directory);
    else
        found = names_of(&listed);
    free_names(&listed);
    Py_DECREF(path);
    return found;
}

static PyObject *
names(PyObject *Py_UNUSED(module), PyObject *directory)
{
    return list(directory, 0);
}

static PyObject *
files(PyObject *Py_UNUSED(module), PyObject *directory)
{
    return list(directory, 1);
}
#endif

PyMethodDef listing_functions[] = {
#ifndef MS_WINDOWS
    {"files", files, METH_O, "files(directory): names of what is a file, or leads to one."},
    {"names", names, METH_O, "names(directory): what is in it, in no order; the counterpart of os.listdir."},
#endif
    {0},
};
