package allocation

import (
	"io"
	"math"
)

// ReadAssignment reads an assignment problem as in the OR-Library: the number n of
// people, and of tasks, then n times n costs, row after row, wherever lines break;
// or, in its sparse form, lines of a person, a task and a cost, numbered from 1.
// In the network people are nodes 0 to n-1, each supplies one unit; tasks follow,
// each takes one. Errors are *[LineError].
func ReadAssignment(r io.Reader) (*Network, error) {
	l := newLines(r)
	if !l.next() {
		if err := l.end(); err != nil {
			return nil, err
		}
		return nil, l.errorf("the file is empty; an assignment begins with its size")
	}
	size, err := l.integer(0)
	if err != nil {
		return nil, err
	}
	if size < 1 || size > math.MaxInt32/2 {
		return nil, l.errorf("size %d of an assignment", size)
	}
	// Numbers are kept as they come; how many there are tells the form. Those of
	// the first line behind the size belong to the matrix.
	var (
		numbers []int64
		where   []int32 // line of each third number, for the sparse form's errors
		triples = len(l.fields) == 1
		first   = 1
	)
	for {
		for i := first; i < len(l.fields); i++ {
			x, err := l.integer(i)
			if err != nil {
				return nil, err
			}
			if x < -limit || x > limit {
				return nil, l.errorf("cost %d: %w", x, ErrRange)
			}
			if len(numbers) == maxArcs {
				return nil, l.errorf("more than %d numbers", maxArcs)
			}
			if numbers = append(numbers, x); len(numbers)%3 == 1 && triples {
				where = append(where, int32(l.number))
			}
		}
		if first == 0 && len(l.fields) != 3 {
			triples = false
		}
		first = 0
		if !l.next() {
			break
		}
	}
	if err := l.end(); err != nil {
		return nil, err
	}
	dense := int64(len(numbers)) == size*size
	if !dense && (!triples || len(numbers) == 0) {
		return nil, l.errorf("the file ends after %d costs; an assignment of size %d has %d", len(numbers), size, size*size)
	}
	if !dense && size > int64(len(numbers)/3) {
		return nil, l.errorf("the file ends after %d lines of a person, a task and a cost; %d people need one each", len(numbers)/3, size)
	}
	n := &Network{Supply: make([]int64, 2*size)}
	for i := range size {
		n.Supply[i], n.Supply[size+i] = 1, -1
	}
	if dense {
		for k, cost := range numbers {
			n.AddArc(int32(int64(k)/size), int32(size+int64(k)%size), 0, 1, cost)
		}
		return n, nil
	}
	for k := 0; k < len(numbers); k += 3 {
		person, task := numbers[k], numbers[k+1]
		if person < 1 || person > size || task < 1 || task > size {
			l.number = int(where[k/3])
			return nil, l.errorf("person %d, task %d of %d", person, task, size)
		}
		n.AddArc(int32(person-1), int32(size+task-1), 0, 1, numbers[k+2])
	}
	return n, nil
}
