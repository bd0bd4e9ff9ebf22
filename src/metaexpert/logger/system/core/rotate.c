/* What happens to backups, each in a single call without the interpreter lock: in a rotation hundreds move up by one, and
   a compressed copy takes the place of one of them. In Python each rename and each look gives the lock back, and then
   waits for it up to five milliseconds for each busy thread of the program.

   `shift` in rotation.py is the reference of the first: it says which steps there are. That of the second is
   `Archivist._replace`. */

#include "core.h"

#ifndef MS_WINDOWS
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST_NUMBER = 999999, LONGEST_NAME = 496 };

/* NAME.number, or NAME.number.gz. */
typedef struct {
    long number;
    int packed;
} Backup;

typedef struct {
    Backup *all;
    size_t count, room;
} Backups;

/* What failed: a path below the directory, or two. */
typedef struct {
    char source[512], target[512];
} Failure;

/* Return whether *name* is a backup of *base*. */
static int
read_backup(const char *name, const char *base, Backup *found)
{
    size_t length = strlen(base);
    if (strncmp(name, base, length) || name[length] != '.' || name[length + 1] < '1' || name[length + 1] > '9')
        return 0;
    char *end;
    found->number = strtol(name + length + 1, &end, 10);
    found->packed = !strcmp(end, ".gz");
    return found->number <= LARGEST_NUMBER && (found->packed || !*end);
}

static int
compare(const void *one, const void *other)
{
    const Backup *a = one, *b = other;
    return a->number != b->number ? (a->number < b->number ? -1 : 1) : a->packed - b->packed;
}

/* Return 0, or -1 with errno. */
static int
list_backups(DIR *directory, const char *base, Backups *found)
{
    Backup backup;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        if (!read_backup(entry->d_name, base, &backup))
            continue;
        if (found->count == found->room) {
            size_t room = found->room ? 2 * found->room : 64;
            Backup *all = realloc(found->all, room * sizeof *all);
            if (all == NULL)
                return -1;
            found->all = all;
            found->room = room;
        }
        found->all[found->count++] = backup;
    }
    if (errno)
        return -1;
    if (found->count)
        qsort(found->all, found->count, sizeof *found->all, compare);
    return 0;
}

static void
name_of(char *name, size_t size, const char *base, Backup backup)
{
    snprintf(name, size, "%s.%ld%s", base, backup.number, backup.packed ? ".gz" : "");
}

static int
move_all(int directory, const char *base, Py_ssize_t keep, const Backups *found, Failure *failure)
{
    long gap = 1;
    for (size_t i = 0; i < found->count; i++)
        gap += found->all[i].number == gap;
    for (size_t i = 0; i < found->count; i++) {
        Backup backup = found->all[i];
        if (backup.number < keep + (backup.number > gap))
            continue;
        name_of(failure->source, sizeof failure->source, base, backup);
        if (unlinkat(directory, failure->source, 0) < 0 && errno != ENOENT)
            return -1;
    }
    for (size_t i = found->count; i-- > 0;) {
        Backup backup = found->all[i];
        if (backup.number >= gap || backup.number >= keep)
            continue;
        name_of(failure->source, sizeof failure->source, base, backup);
        backup.number++;
        name_of(failure->target, sizeof failure->target, base, backup);
        if (renameat(directory, failure->source, directory, failure->target) < 0)
            return -1;
    }
    snprintf(failure->source, sizeof failure->source, "%s", base);
    snprintf(failure->target, sizeof failure->target, "%s.1", base);
    return renameat(directory, failure->source, directory, failure->target);
}

static int
rotate_files(const char *path, const char *base, Py_ssize_t keep, Failure *failure)
{
    Backups found = {0};
    DIR *directory = opendir(path);
    if (directory == NULL)
        return -1;
    int done = list_backups(directory, base, &found);
    if (done == 0)
        done = move_all(dirfd(directory), base, keep, &found, failure);
    int error = errno;
    free(found.all);
    closedir(directory);
    errno = error;
    return done;
}

int
rotate_path(const char *path, Py_ssize_t keep)
{
    Failure ignored;
    const char *slash = strrchr(path, '/'), *base = slash == NULL ? path : slash + 1;
    char *directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(base - path));
    if (directory == NULL)
        return -1;
    int done = strlen(base) > LONGEST_NAME ? -1 : rotate_files(directory, base, keep, &ignored);
    free(directory);
    return done;
}

static PyObject *
rotate(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *directory = NULL, *base = NULL;
    Py_ssize_t keep;
    Failure failure = {0};
    int done = -1;
    if (!PyArg_ParseTuple(args, "O&O&n", PyUnicode_FSConverter, &directory, PyUnicode_FSConverter, &base, &keep))
        return NULL;
    if (PyBytes_GET_SIZE(base) > LONGEST_NAME)
        PyErr_SetString(PyExc_ValueError, "the name is too long");
    else {
        const char *path = PyBytes_AS_STRING(directory), *name = PyBytes_AS_STRING(base);
        Py_BEGIN_ALLOW_THREADS
        done = rotate_files(path, name, keep, &failure);
        Py_END_ALLOW_THREADS
        if (done < 0)
            PyErr_SetFromErrnoWithFilename(PyExc_OSError, failure.source[0] ? failure.source : path);
    }
    Py_DECREF(directory);
    Py_DECREF(base);
    return done < 0 ? NULL : Py_NewRef(Py_None);
}

/* What a backup is known by, whatever its name is by now. */
typedef struct {
    unsigned long long device, inode;
    long long size;
} Known;

/* Returns whether the backup was found, and *copy* has taken its place; -1 with errno. */
static int
replace_found(DIR *directory, const char *base, const char *copy, Known known, Failure *failure)
{
    Backup backup;
    struct stat found;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        if (entry->d_ino != known.inode || !read_backup(entry->d_name, base, &backup) || backup.packed ||
            fstatat(dirfd(directory), entry->d_name, &found, 0) < 0 || found.st_ino != known.inode ||
            (unsigned long long)found.st_dev != known.device || found.st_size != known.size)
            continue;
        name_of(failure->source, sizeof failure->source, base, backup);
        backup.packed = 1;
        name_of(failure->target, sizeof failure->target, base, backup);
        if (renameat(AT_FDCWD, copy, dirfd(directory), failure->target) < 0)
            return -1;
        return unlinkat(dirfd(directory), failure->source, 0) < 0 ? -1 : 1;
    }
    return errno ? -1 : 0;
}

static PyObject *
replace(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *directory = NULL, *base = NULL, *copy = NULL;
    Known known;
    Failure failure = {0};
    int done = -1;
    if (!PyArg_ParseTuple(args, "O&O&O&KKL", PyUnicode_FSConverter, &directory, PyUnicode_FSConverter, &base,
                          PyUnicode_FSConverter, &copy, &known.device, &known.inode, &known.size))
        return NULL;
    const char *path = PyBytes_AS_STRING(directory);
    if (PyBytes_GET_SIZE(base) <= LONGEST_NAME) {
        Py_BEGIN_ALLOW_THREADS
        DIR *opened = opendir(path);
        if (opened != NULL) {
            done = replace_found(opened, PyBytes_AS_STRING(base), PyBytes_AS_STRING(copy), known, &failure);
            int error = errno;
            closedir(opened);
            errno = error;
        }
        Py_END_ALLOW_THREADS
        if (done < 0)
            PyErr_SetFromErrnoWithFilename(PyExc_OSError, failure.source[0] ? failure.source : path);
    }
    else
        PyErr_SetString(PyExc_ValueError, "the name is too long");
    Py_DECREF(directory);
    Py_DECREF(base);
    Py_DECREF(copy);
    return done < 0 ? NULL : PyBool_FromLong(done);
}
#endif

PyMethodDef rotate_functions[] = {
#ifndef MS_WINDOWS
    {"replace", replace, METH_VARARGS,
     "replace(directory, base, copy, device, inode, size): put a compressed copy in the place of the backup of base that\n"
     "is that file, whatever its number is by now; return whether it was found."},
    {"rotate", rotate, METH_VARARGS, "rotate(directory, base, keep): move base to base.1, and its backups up by one."},
#endif
    {0},
};
