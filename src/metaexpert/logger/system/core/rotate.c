/* What happens to backups, each in a single call without the interpreter lock: in a rotation hundreds move up by one, a
   compressed copy takes the place of one of them, and all are looked at. In Python each rename and each look gives the lock
   back, and then waits for it up to five milliseconds for each busy thread of the program.

   `shift` in rotation.py is the reference of the first: it says which steps there are. Those of the others are
   `Archivist._replace` and `Archivist._look_at_backups`. */

#include "core.h"

#ifndef MS_WINDOWS
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST_NUMBER = 999999, LONGEST_NAME = 496, NAME_SIZE = 512, PATH_SIZE = 4096 + NAME_SIZE };

/* NAME.number, or NAME.number.gz. */
typedef struct {
    long number;
    int packed;
    uint64_t inode;
} Backup;

typedef struct {
    Backup *all;
    size_t count;
} Backups;

/* What failed: names in the directory, of which the first is told. */
typedef struct {
    char source[NAME_SIZE], target[NAME_SIZE];
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
list_backups(const char *path, const char *base, Names *names, Backups *found)
{
    Backup backup;
    const char *name;
    if (list_names(path, 0, names) < 0 || (found->all = malloc((names->count + 1) * sizeof backup)) == NULL)
        return -1;
    for (size_t at = 0; (name = next_name(names, &at, &backup.inode)) != NULL;) {
        if (read_backup(name, base, &backup))
            found->all[found->count++] = backup;
    }
    qsort(found->all, found->count, sizeof backup, compare);
    return 0;
}

static void
name_of(char *name, const char *base, Backup backup)
{
    snprintf(name, NAME_SIZE, "%s.%ld%s", base, backup.number, backup.packed ? ".gz" : "");
}

/* By its whole path: a descriptor of the directory might be somebody else's by now. */
static int
join(char *whole, const char *directory, const char *name)
{
    if ((size_t)snprintf(whole, PATH_SIZE, "%s/%s", directory, name) < PATH_SIZE)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

static int
delete(const char *directory, const char *name)
{
    char path[PATH_SIZE];
    return join(path, directory, name) < 0 ? -1 : unlink(path);
}

static int
move(const char *directory, const char *source, const char *target)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    return join(from, directory, source) < 0 || join(to, directory, target) < 0 ? -1 : rename(from, to);
}

static int
move_all(const char *directory, const char *base, Py_ssize_t keep, const Backups *found, Failure *failure)
{
    long gap = 1;
    for (size_t i = 0; i < found->count; i++)
        gap += found->all[i].number == gap;
    for (size_t i = 0; i < found->count; i++) {
        Backup backup = found->all[i];
        if (backup.number < keep + (backup.number > gap))
            continue;
        name_of(failure->source, base, backup);
        if (delete(directory, failure->source) < 0 && errno != ENOENT)
            return -1;
    }
    for (size_t i = found->count; i-- > 0;) {
        Backup backup = found->all[i];
        if (backup.number >= gap || backup.number >= keep)
            continue;
        name_of(failure->source, base, backup);
        backup.number++;
        name_of(failure->target, base, backup);
        if (move(directory, failure->source, failure->target) < 0)
            return -1;
    }
    snprintf(failure->source, NAME_SIZE, "%s", base);
    snprintf(failure->target, NAME_SIZE, "%s.1", base);
    return move(directory, failure->source, failure->target);
}

static int
rotate_files(const char *path, const char *base, Py_ssize_t keep, Names *names, Failure *failure)
{
    Backups found = {0};
    int done = list_backups(path, base, names, &found);
    if (done == 0)
        done = move_all(path, base, keep, &found, failure);
    int error = errno;
    free(found.all);
    errno = error;
    return done;
}

int
rotate_path(const char *path, Py_ssize_t keep, Names *names)
{
    Failure ignored;
    const char *slash = strrchr(path, '/'), *base = slash == NULL ? path : slash + 1;
    char *directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(base - path));
    if (directory == NULL)
        return -1;
    int done = strlen(base) > LONGEST_NAME ? -1 : rotate_files(directory, base, keep, names, &ignored);
    free(directory);
    return done;
}

static PyObject *
rotate(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *directory = NULL, *base = NULL;
    Py_ssize_t keep;
    Names names = {0};
    Failure failure = {0};
    int done = -1;
    if (!PyArg_ParseTuple(args, "O&O&n", PyUnicode_FSConverter, &directory, PyUnicode_FSConverter, &base, &keep))
        return NULL;
    if (PyBytes_GET_SIZE(base) > LONGEST_NAME)
        PyErr_SetString(PyExc_ValueError, "the name is too long");
    else {
        const char *path = PyBytes_AS_STRING(directory), *name = PyBytes_AS_STRING(base);
        Py_BEGIN_ALLOW_THREADS
        done = rotate_files(path, name, keep, &names, &failure);
        Py_END_ALLOW_THREADS
        free_names(&names);
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
replace_one(const char *directory, Backup backup, const char *base, const char *copy, Known known, Failure *failure)
{
    struct stat found;
    char path[PATH_SIZE];
    name_of(failure->source, base, backup);
    if (join(path, directory, failure->source) < 0)
        return -1;
    if (stat(path, &found) < 0 || found.st_ino != known.inode || (unsigned long long)found.st_dev != known.device ||
        found.st_size != known.size)
        return 0;
    backup.packed = 1;
    name_of(failure->target, base, backup);
    if (join(path, directory, failure->target) < 0 || rename(copy, path) < 0)
        return -1;
    return delete(directory, failure->source) < 0 ? -1 : 1;
}

static int
replace_found(const char *directory, const char *base, const char *copy, Known known, Names *names, Failure *failure)
{
    Backups found = {0};
    int done = list_backups(directory, base, names, &found);
    for (size_t i = 0; done == 0 && i < found.count; i++) {
        if (found.all[i].inode == known.inode && !found.all[i].packed)
            done = replace_one(directory, found.all[i], base, copy, known, failure);
    }
    int error = errno;
    free(found.all);
    errno = error;
    return done;
}

static PyObject *
replace(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *directory = NULL, *base = NULL, *copy = NULL;
    Known known;
    Names names = {0};
    Failure failure = {0};
    int done = -1;
    if (!PyArg_ParseTuple(args, "O&O&O&KKL", PyUnicode_FSConverter, &directory, PyUnicode_FSConverter, &base,
                          PyUnicode_FSConverter, &copy, &known.device, &known.inode, &known.size))
        return NULL;
    const char *path = PyBytes_AS_STRING(directory);
    if (PyBytes_GET_SIZE(base) <= LONGEST_NAME) {
        Py_BEGIN_ALLOW_THREADS
        done = replace_found(path, PyBytes_AS_STRING(base), PyBytes_AS_STRING(copy), known, &names, &failure);
        Py_END_ALLOW_THREADS
        free_names(&names);
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

/* One that was looked at; *name* lies in the names of the directory. */
typedef struct {
    const char *name;
    long long size, modified;
} Looked;

/* Look at the backups among *names*. Returns how many there are, or -1 with errno. */
static Py_ssize_t
look_at(const char *directory, const char *const *bases, Py_ssize_t count, const Names *names, Looked **found)
{
    Py_ssize_t done = 0;
    Backup backup;
    struct stat status;
    const char *name;
    char path[PATH_SIZE];
    if ((*found = malloc((names->count + 1) * sizeof **found)) == NULL)
        return -1;
    for (size_t at = 0; (name = next_name(names, &at, &backup.inode)) != NULL;) {
        Py_ssize_t base = 0;
        while (base < count && !read_backup(name, bases[base], &backup))
            base++;
        if (base == count || join(path, directory, name) < 0 || stat(path, &status) < 0)
            continue; /* it may be gone by now */
        struct timespec modified = MODIFIED(status);
        (*found)[done++] = (Looked){name, (long long)status.st_size, modified.tv_sec * 1000000000LL + modified.tv_nsec};
    }
    return done;
}

static PyObject *
list_looked(const Looked *found, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *name = PyUnicode_DecodeFSDefault(found[i].name);
        PyObject *item = name == NULL ? NULL : Py_BuildValue("NLL", name, found[i].size, found[i].modified);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, item);
    }
    return list;
}

/* Fill *names* with the texts of a tuple, which keeps them. */
static int
texts_of(PyObject *tuple, const char **texts)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        if ((texts[i] = PyUnicode_AsUTF8(PyTuple_GET_ITEM(tuple, i))) == NULL)
            return -1;
    }
    return 0;
}

static PyObject *
backups(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *directory = NULL, *bases, *list = NULL;
    Names names = {0};
    Looked *found = NULL;
    Py_ssize_t count = -1;
    if (!PyArg_ParseTuple(args, "O&O!", PyUnicode_FSConverter, &directory, &PyTuple_Type, &bases))
        return NULL;
    const char *path = PyBytes_AS_STRING(directory);
    const char **texts = PyMem_New(const char *, PyTuple_GET_SIZE(bases) + 1);
    if (texts == NULL)
        PyErr_NoMemory();
    else if (texts_of(bases, texts) == 0) {
        Py_BEGIN_ALLOW_THREADS
        if (list_names(path, 1, &names) == 0)
            count = look_at(path, texts, PyTuple_GET_SIZE(bases), &names, &found);
        Py_END_ALLOW_THREADS
        list = count < 0 ? PyErr_SetFromErrnoWithFilename(PyExc_OSError, path) : list_looked(found, count);
        free(found);
        free_names(&names);
    }
    PyMem_Free(texts);
    Py_DECREF(directory);
    return list;
}
#endif

PyMethodDef rotate_functions[] = {
#ifndef MS_WINDOWS
    {"backups", backups, METH_VARARGS,
     "backups(directory, bases): backups of the files with these names, in no order: name, size, and time in nanoseconds."},
    {"replace", replace, METH_VARARGS,
     "replace(directory, base, copy, device, inode, size): put a compressed copy in the place of the backup of base that\n"
     "is that file, whatever its number is by now; return whether it was found."},
    {"rotate", rotate, METH_VARARGS, "rotate(directory, base, keep): move base to base.1, and its backups up by one."},
#endif
    {0},
};
