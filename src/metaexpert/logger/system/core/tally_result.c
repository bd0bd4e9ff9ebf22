/* The call of `tally.c`: its arguments, and its result as Python objects. */

#include "tally.h"

/* Append a new object, which may be NULL for an error. */
static int
append(PyObject *list, PyObject *item)
{
    int result = item == NULL ? -1 : PyList_Append(list, item);
    Py_XDECREF(item);
    return result;
}

#define TEXT(text) (text).at, (Py_ssize_t)(text).size
#define MOMENT(time) ((time) ? (time) : ""), (Py_ssize_t)((time) ? TIME : 0)

/* Return the shapes of messages in their order. */
static PyObject *
messages_of(const Tally *tally)
{
    PyObject *messages = PyList_New((Py_ssize_t)tally->message_count);
    for (size_t i = 0; i < tally->message_room && messages != NULL; i++) {
        const Message *message = &tally->messages[i];
        if (message->shape.at == NULL)
            continue;
        PyObject *item = Py_BuildValue("y#y#L", TEXT(message->shape), TEXT(message->raw), (long long)message->count);
        if (item == NULL)
            Py_CLEAR(messages);
        else
            PyList_SET_ITEM(messages, (Py_ssize_t)message->number, item);
    }
    return messages;
}

/* Return the values of each field as bytes. */
static PyObject *
values_of(const Tally *tally)
{
    PyObject *fields = PyList_New(0);
    for (int i = 0; i < tally->field_count && fields != NULL; i++)
        if (append(fields, PyList_New(0)) < 0)
            Py_CLEAR(fields);
    for (size_t i = 0; i < tally->values.used && fields != NULL; i += 3) {
        const int64_t *item = tally->values.items + i;
        PyObject *value = PyBytes_FromStringAndSize((char *)tally->data.buf + item[1], (Py_ssize_t)(item[2] - item[1]));
        if (append(PyList_GET_ITEM(fields, (Py_ssize_t)item[0]), value) < 0)
            Py_CLEAR(fields);
    }
    return fields;
}

static PyObject *
result_of(const Tally *tally)
{
    PyObject *kinds = PyList_New(0), *runs = PyList_New(0), *minutes = PyList_New(0), *messages = messages_of(tally);
    PyObject *values = values_of(tally);
    int failed = kinds == NULL || runs == NULL || minutes == NULL || messages == NULL || values == NULL;
    for (int i = 0; i < tally->kind_count && !failed; i++) {
        const Kind *kind = &tally->kinds[i];
        failed = append(kinds, Py_BuildValue("y#y#y#L", TEXT(kind->level), TEXT(kind->head), TEXT(kind->expert),
                                             (long long)kind->count));
    }
    for (int i = 0; i < tally->process_count && !failed; i++) {
        const Process *process = &tally->processes[i];
        failed = append(runs, Py_BuildValue("y#y#NNN", TEXT(process->host), TEXT(process->pid), bytes_of(&process->runs),
                                            bytes_of(&process->ordinary), bytes_of(&process->every)));
    }
    for (int i = 0; i < tally->minute_count && !failed; i++) {
        const Minute *minute = &tally->minutes[i];
        failed = append(minutes, Py_BuildValue("y#L", TEXT(minute->minute), (long long)minute->count));
    }
    if (!failed)
        return Py_BuildValue("NNNNNNNNNy#y#y#ON", kinds, runs, minutes, messages, bytes_of(&tally->specials),
                             bytes_of(&tally->marks), bytes_of(&tally->odd), bytes_of(&tally->unsure), values,
                             MOMENT(tally->low), MOMENT(tally->high), MOMENT(tally->latest),
                             tally->back ? Py_True : Py_False, bytes_of(&tally->telling));
    Py_XDECREF(kinds);
    Py_XDECREF(runs);
    Py_XDECREF(minutes);
    Py_XDECREF(messages);
    Py_XDECREF(values);
    return NULL;
}

/* Take the names of fields, in quotes as they are in a line. */
static int
take_names(Tally *tally, PyObject *names)
{
    tally->field_count = (int)PyTuple_GET_SIZE(names);
    if (PyTuple_GET_SIZE(names) > MOST_FIELDS) {
        PyErr_SetString(PyExc_ValueError, "too many fields");
        return -1;
    }
    for (int i = 0; i < tally->field_count; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        if (!PyBytes_CheckExact(name) || PyBytes_GET_SIZE(name) < 2) {
            PyErr_SetString(PyExc_TypeError, "a name is bytes in quotes");
            return -1;
        }
        Py_ssize_t size = PyBytes_GET_SIZE(name);
        tally->needles[i] = (Needle){.text = (const unsigned char *)PyBytes_AS_STRING(name), .size = size};
        choose_rarest(&tally->needles[i]);
        tally->names[i] = (Text){PyBytes_AS_STRING(name) + 1, (size_t)size - 2};
    }
    return 0;
}

static int
take_keys(Tally *tally, PyObject *keys)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); i++)
        if (add_key(&tally->keys, PyTuple_GET_ITEM(keys, i)) < 0)
            return -1;
    return 0;
}

static PyObject *
tally_lines(PyObject *Py_UNUSED(module), PyObject *args)
{
    Tally *tally = PyMem_RawCalloc(1, sizeof *tally);
    PyObject *names, *keys = NULL, *result = NULL;
    Py_ssize_t host = 0, pid = 0;
    if (tally == NULL)
        return PyErr_NoMemory();
    if (PyArg_ParseTuple(args, "y*pO!|O!z#z#", &tally->data, &tally->strict, &PyTuple_Type, &names, &PyTuple_Type, &keys,
                         &tally->host.at, &host, &tally->pid.at, &pid)) {
        tally->host.size = (size_t)host;
        tally->pid.size = (size_t)pid;
        if (take_names(tally, names) == 0 && (keys == NULL || take_keys(tally, keys) == 0)) {
            Py_BEGIN_ALLOW_THREADS
            tally->shapes = PyMem_RawMalloc((size_t)tally->data.len + 1);
            tally->failed = tally->shapes == NULL;
            count_lines(tally);
            Py_END_ALLOW_THREADS
            result = tally->failed ? PyErr_NoMemory() : result_of(tally);
        }
        PyBuffer_Release(&tally->data);
    }
    for (int i = 0; i < tally->process_count; i++) {
        PyMem_RawFree(tally->processes[i].runs.items);
        PyMem_RawFree(tally->processes[i].ordinary.items);
        PyMem_RawFree(tally->processes[i].every.items);
    }
    PyMem_RawFree(tally->specials.items);
    PyMem_RawFree(tally->marks.items);
    PyMem_RawFree(tally->odd.items);
    PyMem_RawFree(tally->unsure.items);
    PyMem_RawFree(tally->values.items);
    PyMem_RawFree(tally->telling.items);
    PyMem_RawFree(tally->messages);
    PyMem_RawFree(tally->shapes);
    PyMem_RawFree(tally);
    return result;
}

PyMethodDef tally_functions[] = {
    {"tally", tally_lines, METH_VARARGS,
     "tally(data, strict, names, keys=(), host=None, pid=None): return counts of lines; see logs/reading/tally.py."},
    {0},
};
