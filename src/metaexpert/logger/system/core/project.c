/* The wanted fields of whole lines, for SQL. The counterpart of `logs/query.py`.

   Of each line that certainly is a sound entry the wanted fields are written again, as JSON and without decoding. Trades
   and errors, which may be copies of one another, are told by their places. All other lines are handed back. */

#include "tally.h"

enum { MOST_WANTED = 24, HEADER_NAMES = 9 };

/* Around the fields of a line: DuckDB gets an array of the file's name, which nobody asked for, and the entry. */
static const char BEGIN[] = "[\"\",{", END[] = "}]\n";

typedef struct {
    Text name;     /* as it is asked for, in lower case */
    Text spelling; /* as the lines have it; without *at* until one has it */
    Text value;    /* in the current line; without *at* when it has none */
    char kinds[8]; /* the letters of `kinds_of`, each once */
} Column;

typedef struct {
    Py_buffer data;
    Column columns[MOST_WANTED];
    int count, failed, unusual; /* *unusual*: the current line is for Python */
    char *out;
    size_t used;
    List specials, odd;
} Projection;

static int
is_wanted(Text name, Text wanted)
{
    if (name.size != wanted.size)
        return 0;
    for (size_t i = 0; i < name.size; i++)
        if ((name.at[i] >= 'A' && name.at[i] <= 'Z' ? name.at[i] | 0x20 : name.at[i]) != wanted.at[i])
            return 0;
    return 1;
}

/* Note the value of a field. One name twice in a line, or in two spellings, is for Python. */
static void
take_wanted(void *context, Text name, Text value)
{
    Projection *projection = context;
    for (int i = 0; i < projection->count; i++) {
        Column *column = &projection->columns[i];
        if (!is_wanted(name, column->name))
            continue;
        projection->unusual |= column->value.at != NULL || (column->spelling.at && !same(column->spelling, name)) ||
                               kind_of_value(value) == 0;
        column->value = value;
        if (column->spelling.at == NULL && !projection->unusual)
            column->spelling = name;
    }
}

static void
take_header(Projection *projection, const Header *header)
{
    const char *digits = header->number_at;
    while (*digits >= '0' && *digits <= '9')
        digits++;
    const struct {
        const char *name;
        Text value;
    } fields[HEADER_NAMES] = {
        {"timestamp", {header->time - 1, TIME + sizeof "\"Z\"" - 1}},
        {"level", {header->level.at - 1, header->level.size + 2}},
        {"severity", {header->head.at + sizeof "\"severity\":" - 1, 1}},
        {"hostname", {header->host.at - 1, header->host.size + 2}},
        {"appname", {header->appname.at - 1, header->appname.size + 2}},
        {"procid", {header->pid.at - 1, header->pid.size + 2}},
        {"msgid", {header->msgid.at - 1, header->msgid.size + 2}},
        {"sequence_id", {header->number_at, (size_t)(digits - header->number_at)}},
        {"message", {header->message.at - 1, header->message.size + 2}},
    };
    for (int i = 0; i < HEADER_NAMES; i++)
        take_wanted(projection, (Text){fields[i].name, strlen(fields[i].name)}, fields[i].value);
}

static void
put(Projection *projection, const char *bytes, size_t size)
{
    memcpy(projection->out + projection->used, bytes, size);
    projection->used += size;
}

/* Write the values of the current line, and note their kinds. It takes no more room than the line and a few bytes. */
static void
put_line(Projection *projection)
{
    const char *comma = "";
    put(projection, BEGIN, sizeof BEGIN - 1);
    for (int i = 0; i < projection->count; i++) {
        Column *column = &projection->columns[i];
        if (column->value.at == NULL)
            continue;
        char kind = kind_of_value(column->value);
        if (strchr(column->kinds, kind) == NULL)
            column->kinds[strlen(column->kinds)] = kind;
        put(projection, comma, *comma != 0);
        put(projection, "\"", 1);
        put(projection, column->spelling.at, column->spelling.size);
        put(projection, "\":", 2);
        put(projection, column->value.at, column->value.size);
        comma = ",";
    }
    put(projection, END, sizeof END - 1);
}

static void
project_line(Projection *projection, const char *line, const char *end)
{
    const char *begin = projection->data.buf;
    Header header;
    for (int i = 0; i < projection->count; i++)
        projection->columns[i].value.at = NULL;
    projection->unusual = !read_header(line, end, &header);
    if (!projection->unusual)
        take_header(projection, &header);
    if (projection->unusual || !is_sound(&header, end, take_wanted, projection) || projection->unusual) {
        projection->failed |= add_number(&projection->odd, line - begin) || add_number(&projection->odd, end - begin);
        return;
    }
    size_t start = projection->used;
    put_line(projection);
    if (!is_word(header.level, "error") && !is_word(header.level, "critical") && !is_word(header.msgid, "trade"))
        return;
    const char *stop = header.number_at;
    while (*stop >= '0' && *stop <= '9')
        stop++;
    projection->failed |= add_number(&projection->specials, header.time - begin) || add_number(&projection->specials, stop - begin) ||
                          add_number(&projection->specials, (int64_t)start) ||
                          add_number(&projection->specials, (int64_t)projection->used);
}

static void
project_lines(Projection *projection)
{
    const char *line = projection->data.buf, *end = line + projection->data.len;
    while (line < end && !projection->failed) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop == NULL ? end : stop;
        if (stop > line)
            project_line(projection, line, stop);
        line = stop + 1;
        if (stop == end)
            break;
    }
}

static int
take_names(Projection *projection, PyObject *names)
{
    projection->count = (int)PyTuple_GET_SIZE(names);
    if (PyTuple_GET_SIZE(names) > MOST_WANTED) {
        PyErr_SetString(PyExc_ValueError, "too many names");
        return -1;
    }
    for (int i = 0; i < projection->count; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        if (!PyBytes_CheckExact(name)) {
            PyErr_SetString(PyExc_TypeError, "a name is bytes");
            return -1;
        }
        projection->columns[i].name = (Text){PyBytes_AS_STRING(name), (size_t)PyBytes_GET_SIZE(name)};
    }
    return 0;
}

static PyObject *
columns_of(const Projection *projection)
{
    PyObject *found = PyList_New(0);
    for (int i = 0; i < projection->count && found != NULL; i++) {
        const Column *column = &projection->columns[i];
        if (column->spelling.at == NULL)
            continue;
        PyObject *item = Py_BuildValue("y#y", column->spelling.at, (Py_ssize_t)column->spelling.size, column->kinds);
        if (item == NULL || PyList_Append(found, item) < 0)
            Py_CLEAR(found);
        Py_XDECREF(item);
    }
    return found;
}

static PyObject *
project(PyObject *Py_UNUSED(module), PyObject *args)
{
    Projection *projection = PyMem_RawCalloc(1, sizeof *projection);
    PyObject *names, *result = NULL;
    if (projection == NULL)
        return PyErr_NoMemory();
    if (PyArg_ParseTuple(args, "y*O!", &projection->data, &PyTuple_Type, &names)) {
        if (take_names(projection, names) == 0) {
            Py_BEGIN_ALLOW_THREADS
            projection->out = PyMem_RawMalloc((size_t)projection->data.len + 1);
            projection->failed = projection->out == NULL;
            project_lines(projection);
            Py_END_ALLOW_THREADS
            result = projection->failed
                         ? PyErr_NoMemory()
                         : Py_BuildValue("y#NNN", projection->out, (Py_ssize_t)projection->used,
                                         columns_of(projection), bytes_of(&projection->specials),
                                         bytes_of(&projection->odd));
        }
        PyBuffer_Release(&projection->data);
    }
    PyMem_RawFree(projection->specials.items);
    PyMem_RawFree(projection->odd.items);
    PyMem_RawFree(projection->out);
    PyMem_RawFree(projection);
    return result;
}

PyMethodDef project_functions[] = {
    {"project", project, METH_VARARGS,
     "project(data, names): return the wanted fields of lines as JSON; see logs/query.py."},
    {0},
};
