package embedded

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// kfake stores a record batch when its header and checksum are right and never
// looks at the records. One that does not hold what its header says would stop
// every consumer of its partition for good, and end the process at the next
// search by time, after each restart again. A real broker reads the records; so
// do we.

// Layout of the header of a record batch (magic 2).
const (
	batchHeader  = 61
	batchMagic   = 16
	batchAttrs   = 21
	batchLast    = 23
	batchRecords = 57
)

// checkBatch reads a record batch and reports what is wrong with it. limit is
// the size that its records may have when decompressed.
func checkBatch(raw []byte, limit int) error {
	if len(raw) < batchHeader {
		return fmt.Errorf("record batch of %d bytes is shorter than its header", len(raw))
	}
	if raw[batchMagic] != 2 {
		return nil // kfake refuses it
	}
	count := int32(binary.BigEndian.Uint32(raw[batchRecords:]))
	if last := int32(binary.BigEndian.Uint32(raw[batchLast:])); count < 1 || last != count-1 {
		return fmt.Errorf("record batch of %d records with last offset delta %d", count, last)
	}
	records, err := decompress(binary.BigEndian.Uint16(raw[batchAttrs:])&7, raw[batchHeader:], limit)
	if err != nil {
		return fmt.Errorf("decompress record batch: %w", err)
	}
	for i := range count {
		n, size := binary.Varint(records)
		if size <= 0 || n < 0 || n > int64(len(records)-size) {
			return fmt.Errorf("record %d of %d: bad length", i+1, count)
		}
		if err := checkRecord(records[size:size+int(n)], i); err != nil {
			return fmt.Errorf("record %d of %d: %w", i+1, count, err)
		}
		records = records[size+int(n):]
	}
	if len(records) > 0 {
		return fmt.Errorf("%d bytes after the last of %d records", len(records), count)
	}
	return nil
}

var errRecord = errors.New("malformed record")

// checkRecord reads one record: attributes, timestamp delta, offset delta, key,
// value, headers.
func checkRecord(b []byte, index int32) error {
	if len(b) < 1 {
		return errRecord
	}
	b = b[1:]
	ok := true
	varint := func() int64 {
		n, size := binary.Varint(b)
		if size <= 0 {
			ok = false
			return 0
		}
		b = b[size:]
		return n
	}
	skip := func(least int64) {
		n := varint()
		if !ok || n < least || n > int64(len(b)) {
			ok = false
			return
		}
		b = b[max(n, 0):]
	}
	varint() // timestamp
	if varint() != int64(index) {
		return fmt.Errorf("%w: wrong offset", errRecord)
	}
	skip(-1) // key; -1: none
	skip(-1) // value
	for headers := varint(); ok && headers > 0; headers-- {
		skip(0)
		skip(-1)
	}
	if !ok || len(b) > 0 {
		return errRecord
	}
	return nil
}

var unzstd, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(256<<20))

// decompress returns the records of a batch, at most limit bytes of them.
func decompress(codec uint16, src []byte, limit int) ([]byte, error) {
	switch codec {
	case 0:
		return src, nil
	case 1:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, err
		}
		return readAtMost(r, limit)
	case 2:
		return unsnappy(src, limit)
	case 3:
		return readAtMost(lz4.NewReader(bytes.NewReader(src)), limit)
	case 4:
		r, err := unzstd.DecodeAll(src, nil)
		if err == nil && len(r) > limit {
			err = errTooMuch
		}
		return r, err
	}
	return nil, fmt.Errorf("unknown compression %d", codec)
}

var errTooMuch = errors.New("too large")

func readAtMost(r io.Reader, limit int) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(out) > limit {
		err = errTooMuch
	}
	return out, err
}

// unsnappy reads a snappy block, or blocks in the framing of the Java client.
func unsnappy(src []byte, limit int) ([]byte, error) {
	const frame = "\x82SNAPPY\x00"
	if !bytes.HasPrefix(src, []byte(frame)) {
		return unsnap(nil, src, limit)
	}
	if len(src) < 16 {
		return nil, io.ErrUnexpectedEOF
	}
	var out []byte
	for src = src[16:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := binary.BigEndian.Uint32(src)
		if uint64(n) > uint64(len(src)-4) {
			return nil, io.ErrUnexpectedEOF
		}
		var err error
		if out, err = unsnap(out, src[4:4+n], limit); err != nil {
			return nil, err
		}
		src = src[4+n:]
	}
	return out, nil
}

func unsnap(out, block []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if n > limit-len(out) {
		return nil, errTooMuch
	}
	b, err := snappy.Decode(nil, block)
	return append(out, b...), err
}
