package employers

import "google.golang.org/protobuf/encoding/protojson"

func protoJSON(o *Offer) ([]byte, error) { return protojson.Marshal(o.Terms()) }
